"""Make batches from stored drawings: on which background, and changed how."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from generation.learning.dataset.stored import Dataset, pictures_file

WHITE = "white"
BACKGROUNDS: Mapping[str, tuple[int, int, int]] = MappingProxyType({
    WHITE: (255, 255, 255),
    "black": (16, 16, 18),
    "grey": (158, 160, 164),
    "red": (206, 52, 52),
    "orange": (243, 147, 52),
    "yellow": (250, 214, 74),
    "green": (84, 168, 92),
    "blue": (56, 116, 208),
    "purple": (130, 84, 184),
    "pink": (246, 168, 196),
    "brown": (128, 88, 60),
    "beige": (240, 226, 200),
})  # fmt: skip
MOST_HUE_DEGREES = 15.0  # beyond, red turns orange and the caption is no longer true
# Root mean square distance, of 0 to 1, below which a drawing would drown in its background.
LEAST_CONTRAST = 0.25
# Share of the picture that the background must be seen in; a caption must not name what is hidden.
LEAST_VISIBLE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How pictures are changed each time they are looked at; the default changes nothing.

    Attributes:
        share: Share of pictures that are scaled, shifted and rotated; the others stay sharp.
        shrink: A drawing may lose up to this share of its size, [0, 0.9].
        enlarge: A drawing may gain up to this share of its size and is cropped, [0, 1].
        shift: A drawing may move by up to this share of the side, each way, [0, 0.5].
        rotate_degrees: A drawing may turn by up to this, each way, [0, 180].
        mirror: Share of pictures that are mirrored, of those whose row allows it.
        brightness: Colours may be multiplied by 1 plus or minus up to this, [0, 0.9].
        hue_degrees: Colours may turn by up to this, each way, [0, 15].
        background: Share of pictures put on a coloured background, which their caption names.
        backgrounds: Which of `BACKGROUNDS`; all of them if empty.
    """

    share: float = 1.0
    shrink: float = 0.0
    enlarge: float = 0.0
    shift: float = 0.0
    rotate_degrees: float = 0.0
    mirror: float = 0.0
    brightness: float = 0.0
    hue_degrees: float = 0.0
    background: float = 0.0
    backgrounds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        most = {
            "share": 1.0, "shrink": 0.9, "enlarge": 1.0, "shift": 0.5, "rotate_degrees": 180.0,
            "mirror": 1.0, "brightness": 0.9, "hue_degrees": MOST_HUE_DEGREES, "background": 1.0,
        }  # fmt: skip
        for name, limit in most.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"{name} must be from 0 to {limit}, not {getattr(self, name)}")
        for name in self.backgrounds:
            if name not in BACKGROUNDS:
                raise ValueError(f"no background {name!r}; known are {sorted(BACKGROUNDS)}")

    @property
    def is_moving(self) -> bool:
        """Whether drawings are resampled."""
        ways = (self.shrink, self.enlarge, self.shift, self.rotate_degrees)
        return self.share > 0 and any(ways)

    @property
    def colours(self) -> tuple[str, ...]:
        """Background colours that a caption has to name."""
        return tuple(name for name in self.backgrounds or BACKGROUNDS if name != WHITE)


def plain(
    dataset: Dataset, rows: Tensor, side_px: int, device: str | torch.device = "cpu"
) -> Tensor:
    """Return pictures as they are, on white.

    Args:
        rows: Row numbers, int64 (n,), on the CPU.

    Returns:
        float32 (n, 3, side, side) in [-1, 1].

    Raises:
        DatasetError: This size was not built.
    """
    drawings = _drawings(dataset, rows, side_px, torch.device(device))
    return _over(drawings, torch.ones(len(rows), 3, device=drawings.device))


def varied(
    dataset: Dataset,
    rows: Tensor,
    side_px: int,
    augmentation: Augmentation,
    generator: torch.Generator,
    device: str | torch.device = "cpu",
) -> tuple[Tensor, list[str]]:
    """Return pictures changed by chance, and what that adds to their captions.

    Args:
        rows: Row numbers, int64 (n,), on the CPU.
        generator: On the CPU whatever the device; the same state gives the same pictures.

    Returns:
        float32 (n, 3, side, side) in [-1, 1]; and for each picture the words that make its caption
        true again, such as "on a blue background", or "" on white.

    Raises:
        DatasetError: This size was not built.
    """
    # All the chance at once: a picture gets the same numbers whatever the other settings are.
    chance = torch.rand(len(rows), 10, generator=generator)
    drawings = _drawings(dataset, rows, side_px, torch.device(device))
    if augmentation.mirror:
        may_mirror = torch.tensor([dataset.rows[row].may_mirror for row in rows.tolist()])
        is_mirrored = may_mirror & (chance[:, 5] < augmentation.mirror)
        drawings = _where(is_mirrored, drawings.flip(3), drawings)
    if augmentation.is_moving:
        drawings = _move(drawings, augmentation, chance)
    if augmentation.brightness or augmentation.hue_degrees:
        drawings = _recolour(drawings, augmentation, chance)
    names = _choose_backgrounds(drawings, augmentation, chance)
    colours = torch.tensor([BACKGROUNDS[name] for name in names]).reshape(-1, 3) / 255
    return _over(drawings, colours.to(drawings.device)), [background_words(name) for name in names]


def background_words(name: str) -> str:
    """Return what a caption says of a background; nobody mentions a white one.

    >>> background_words("orange"), background_words("white")
    ('on an orange background', '')
    """
    if name == WHITE:
        return ""
    return f"on {'an' if name[0] in 'aeiou' else 'a'} {name} background"


def _drawings(dataset: Dataset, rows: Tensor, side_px: int, device: torch.device) -> Tensor:
    """Return float32 (n, 4, side, side) in [0, 1], colours multiplied by alpha.

    Interpolating straight alpha would mix in the unseen colours of transparent pixels.
    """
    if device.type == "cpu":
        stored = torch.from_numpy(dataset.pictures(side_px)[rows.numpy()])
    else:
        dataset.pictures(side_px)  # tells what to do if this size was not built
        everything = _on_device(dataset.directory, dataset.fingerprint, side_px, device)
        stored = everything[rows.to(device)]
    drawings = stored.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    drawings /= 255
    drawings[:, :3] *= drawings[:, 3:]
    return drawings


@functools.lru_cache(maxsize=1)
def _on_device(directory: Path, fingerprint: str, side_px: int, device: torch.device) -> Tensor:
    """Keep all pictures on an accelerator: 17,000 at 128 px are 1.1 GB, and the bus is slow."""
    del fingerprint  # only tells one build from the next in the same folder
    return torch.from_numpy(np.load(pictures_file(directory, side_px))).to(device)


def _spread(chance: Tensor, limit: float) -> Tensor:
    """Return numbers even in [-limit, limit] for numbers even in [0, 1)."""
    return (2 * chance - 1) * limit


def _where(is_first: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Choose whole pictures."""
    return torch.where(is_first.to(first.device)[:, None, None, None], first, second)


def _move(drawings: Tensor, settings: Augmentation, chance: Tensor) -> Tensor:
    """Scale, turn and shift in one resampling, so that edges soften only once."""
    lowest, highest = 1 - settings.shrink, 1 + settings.enlarge
    scale = (lowest + chance[:, 1] * (highest - lowest))[:, None, None]
    angle = _spread(chance[:, 2], math.radians(settings.rotate_degrees))
    # `affine_grid` counts the side as 2, from -1 to 1.
    shift = _spread(chance[:, 3:5], 2 * settings.shift)[:, :, None]
    # From a pixel of the result to where its colour lies in the drawing.
    turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    matrix = torch.cat([turn / scale, -turn @ shift / scale], 2).to(drawings.device)
    grid = functional.affine_grid(matrix, list(drawings.shape), align_corners=False)
    moved = functional.grid_sample(drawings, grid, align_corners=False)
    return _where(chance[:, 0] < settings.share, moved, drawings)


def _recolour(drawings: Tensor, settings: Augmentation, chance: Tensor) -> Tensor:
    """Multiply brightness and turn hue with one colour matrix a picture.

    Source: the turn about the grey axis is Rodrigues' rotation formula for (1, 1, 1) / sqrt(3).
    """
    factor = 1 + _spread(chance[:, 6], settings.brightness)
    angle = _spread(chance[:, 7], math.radians(settings.hue_degrees))[:, None, None]
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    grey = torch.full((3, 3), 1 / 3)
    matrix = angle.cos() * torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * grey
    matrix = (matrix * factor[:, None, None]).to(drawings.device)
    colours, alpha = drawings[:, :3], drawings[:, 3:]
    turned = (matrix @ colours.flatten(2)).view_as(colours)
    # Colours are multiplied by alpha, so alpha is their white.
    return torch.cat([turned.clamp(min=0).minimum(alpha), alpha], 1)


def _choose_backgrounds(drawings: Tensor, settings: Augmentation, chance: Tensor) -> list[str]:
    """Choose a colour for some pictures; white where the drawing would drown in it or hide it."""
    if settings.background == 0 or not settings.colours:
        return [WHITE] * len(drawings)
    palette = torch.tensor([BACKGROUNDS[name] for name in settings.colours]) / 255
    choice = (chance[:, 9] * len(palette)).long()
    background = palette[choice].to(drawings.device)[:, :, None, None]
    colours, alpha = drawings[:, :3], drawings[:, 3:]
    distance = (colours - alpha * background).square().sum((1, 2, 3))
    contrast = (distance / (3 * alpha.square().sum((1, 2, 3))).clamp(min=1e-6)).sqrt().cpu()
    covered = alpha.mean((1, 2, 3)).cpu()
    is_fit = ((contrast >= LEAST_CONTRAST) | (covered == 0)) & (covered <= 1 - LEAST_VISIBLE)
    is_coloured = is_fit & (chance[:, 8] < settings.background)
    return [
        settings.colours[number] if chosen else WHITE
        for number, chosen in zip(choice.tolist(), is_coloured.tolist(), strict=True)
    ]


def _over(drawings: Tensor, backgrounds: Tensor) -> Tensor:
    """Lay drawings over backgrounds in [0, 1], (n, 3); return [-1, 1]."""
    colours, alpha = drawings[:, :3], drawings[:, 3:]
    pictures = colours + (1 - alpha) * backgrounds[:, :, None, None]
    return pictures.mul_(2).sub_(1).clamp_(-1, 1)
