"""A trained GAN at work: prompts to pictures, pictures to latents, latents to pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from generation.language import sentences
from generation.language.templates import styled
from generation.techniques.gan.networks import Encoder, Mapping, Synthesis, on_sphere
from generation.techniques.pictures import numbers
from generation.work import manifest

KIND = "gan"
NETWORKS = ("mapping", "synthesis", "encoder")
VAE = "vae"
# Always so many at once, padded: a result may depend on a batch's size, never on its content.
MICRO_BATCH = 8
MARK = "\0"

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Gan:
    """Three networks that draw in one pass and find the latent of a picture in one pass.

    They work on pixels, or on what an autoencoder makes of them.

    Attributes:
        looks: In the order that the networks know them.
        template: Names a look in a prompt, for example `{prompt}, {look} style`.
        side_px: Side of the pictures.
        vae: That autoencoder, if there is one.
    """

    mapping: Mapping
    synthesis: Synthesis
    encoder: Encoder
    looks: tuple[str, ...]
    template: str
    side_px: int
    vae: AutoencoderTiny | None = None

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Return one picture a prompt, uint8 (n, side, side, 3).

        Each depends on its own prompt and seed alone.
        """
        return self.from_latent(self.dream(prompts, seeds))

    @torch.inference_mode()
    def dream(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Return one latent a prompt, (n, latent_dim)."""
        # One at a time: a sentence must not depend on its neighbours' padding.
        states = torch.cat([sentences.encode([prompt]) for prompt in prompts])
        looks = torch.tensor([look_of(prompt, self.looks, self.template) for prompt in prompts])
        shape = (1, self.mapping.config.noise_dim)
        noise = torch.cat(
            [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        )
        at, dtype = self.mapping.device, self.mapping.dtype
        parts = [
            self.mapping(noise[some].to(at, dtype), states[some].to(at, dtype), looks[some].to(at))
            for some in _micro_batches(len(prompts))
        ]
        return torch.cat(parts)[: len(prompts)]

    @torch.inference_mode()
    def invert(self, pictures: Pictures) -> Tensor:
        """Return the latents that redraw some pictures, (n, latent_dim).

        Args:
            pictures: uint8 (n, side, side, 3).

        Raises:
            ValueError: They have another size.
        """
        if pictures.shape[1:] != (self.side_px, self.side_px, 3):
            raise ValueError(
                f"pictures must be RGB of {self.side_px} x {self.side_px} px, not of shape"
                f" {pictures.shape}"
            )
        shown = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        shown = shown.to(self.encoder.device, self.encoder.dtype)
        parts = [self.encoder(self.compress(shown[some])) for some in _micro_batches(len(pictures))]
        return torch.cat(parts)[: len(pictures)]

    @torch.inference_mode()
    def from_latent(self, latents: Tensor) -> Pictures:
        """Return pictures of latents, or of any weighted sum of latents, uint8 (n, side, side, 3).

        Args:
            latents: Shape (n, latent_dim); only their direction counts.
        """
        directions = on_sphere(latents)
        parts = [
            self.render(self.synthesis(directions[some])) for some in _micro_batches(len(latents))
        ]
        return to_pictures(torch.cat(parts)[: len(latents)])

    def compress(self, pictures: Tensor) -> Tensor:
        """Return what the networks see of pictures (n, 3, side, side) in [-1, 1]."""
        if self.vae is None:
            return pictures
        latents: Tensor = self.vae.encode(pictures.to(self.vae.dtype)).latents
        return latents.to(pictures.dtype)

    def render(self, drawn: Tensor) -> Tensor:
        """Return pictures (n, 3, side, side), about [-1, 1], of what `synthesis` drew."""
        if self.vae is None:
            return drawn
        pictures: Tensor = self.vae.decode(drawn.to(self.vae.dtype)).sample
        return pictures

    def save(self, folder: Path, content: dict[str, object]) -> None:
        """Write the networks as diffusers folders in float16, and the manifest beside them.

        What stays here is rounded in the same way, so that it draws what the files will draw.

        Args:
            content: What else the manifest should tell; plain JSON.
        """
        for name in NETWORKS:
            network = getattr(self, name)
            network.half().save_pretrained(folder / name)
            network.float()
        if self.vae is not None:
            self.vae.half().save_pretrained(folder / VAE)
            self.vae.float()
        own = {"looks": self.looks, "template": self.template, "side_px": self.side_px}
        manifest.write(folder, KIND, {**own, **content})


def load(folder: Path) -> Gan:
    """Open an exported GAN in float32, ready to draw.

    Raises:
        CheckpointMissing: There is none, or it is damaged.
    """
    content = manifest.read(folder, KIND)
    return Gan(
        mapping=Mapping.from_pretrained(folder / "mapping").float().eval(),
        synthesis=Synthesis.from_pretrained(folder / "synthesis").float().eval(),
        encoder=Encoder.from_pretrained(folder / "encoder").float().eval(),
        looks=tuple(content["looks"]),
        template=content["template"],
        side_px=content["side_px"],
        vae=AutoencoderTiny.from_pretrained(folder / VAE, use_safetensors=True).float().eval()
        if (folder / VAE).is_dir()
        else None,
    )


def look_of(prompt: str, looks: Sequence[str], template: str) -> int:
    """Return the number of the look that a prompt names as the template does, or -1.

    >>> look_of("a fox, noto style", ["3d", "noto"], "{prompt}, {look} style")
    1
    """
    for number, look in enumerate(looks):
        before, _, after = styled(MARK, look, template).partition(MARK)
        if prompt.startswith(before) and prompt.endswith(after):
            return number
    return -1


def to_pictures(pictures: Tensor) -> Pictures:
    """Return [-1, 1] (n, 3, height, width) as uint8 (n, height, width, 3).

    Raises:
        NoPicture: Something in it is no number.
    """
    levels = numbers(pictures).clamp(-1, 1).add(1).mul(127.5).round()
    return levels.byte().permute(0, 2, 3, 1).cpu().numpy()


def _micro_batches(count: int) -> Iterator[Tensor]:
    """Yield the numbers of whole micro-batches; the last repeats number 0 where it is not full."""
    for start in range(0, count, MICRO_BATCH):
        numbers = torch.arange(start, start + MICRO_BATCH)
        yield torch.where(numbers < count, numbers, 0)
