"""What can draw here: plain descriptions of checkpoints, without loading any of them.

A checkpoint of ours is an ordinary diffusers folder with one more file, `atelier.json`, that says
what it is called, at which size it was trained, and how it asks to be sampled. What it can and
cannot honour is part of the description, so that a reply can say so before anything is drawn.
"""

import dataclasses
import math
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from generation.work import border
from generation.work.errors import CheckpointCorrupt, FileRefused, InvalidRequest
from generation.work.hashes import sha256_of
from generation.work.requests.imagine import MAX_STEPS, Imagine
from generation.work.requests.reading import VERBS

Family = Literal["slots", "pipeline", "pattern"]
ABILITIES = frozenset({"ar", "negative", "image", "weights", "quality", "stylize", "chaos", "tile"})
# Anything drawn whole by its diffusers pipeline takes one prompt text, so no weights.
PIPELINE_ABILITIES = frozenset({"ar", "negative", "image", "quality", "stylize"})
SLOT_ABILITIES = frozenset({"ar", "negative", "image", "weights", "quality", "stylize"})
# A distilled checkpoint has its guidance and its steps built in: none of them can be changed.
DISTILLED_ABILITIES = SLOT_ABILITIES - {"negative", "quality", "stylize"}
DISTILLED = "distill"

MANIFEST = "atelier.json"
MEANINGS = "vocabulary.safetensors"  # of the vocabulary's entries; no picture depends on it
PIPELINE_INDEX = "model_index.json"  # diffusers' own
SHIPPED = Path(__file__).parents[1] / "weights"
EMBEDDED = SHIPPED / "atelier-emoji"
EMBEDDED_SCORER = SHIPPED / "atelier-scorer"  # judges the pictures of every shipped one
EMBEDDED_MULTIPLE_PX = 32  # three halvings in the autoencoder, two in the denoiser

MAX_NAME = 64  # letters of what is typed after `--style` and `--model`
MIN_RATIO, MAX_RATIO = 1 / 3, 3.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One model that can be drawn with.

    Args:
        name: What people type after `--model`.
        title: What people read.
        family: `slots` is drawn step by step in our own loop, `pipeline` as its class is (whole by
            its diffusers pipeline, or in that loop too), `pattern` by the built-in technique
            without a model.
        source: Folder or hub id; empty for `pattern`.
        revision: Pinned commit of a hub id; None for a folder.
        width: Trained width in pixels.
        height: Trained height in pixels.
        size_multiple: Sides must be multiples of this many pixels.
        max_pixels: Most pixels an image may have; 0 means twice the trained size.
        num_inference_steps: Steps at `--quality 1`.
        guidance_scale: Guidance at `--stylize 100`.
        styles: Style name, one word, to template with `{prompt}`; may be empty.
        default_style: The style drawn when none is asked for; None for the bare prompt.
        vocabulary: What it has learned to draw; empty if it is not limited to known words. Other
            words are told if `text_encoder` is there to measure what comes near.
        num_things: How many of the vocabulary, the first ones, name things; the rest are other words
            for those. 0 if that is not known.
        verbs: What can be asked of it: names of `generation.work.requests.reading.VERBS`.
        honours: The abilities it has, of `ABILITIES`.
        sha256: Relative file to hex digest; checked by `verify` before loading.
        text_encoder: Package that holds the text encoder; empty if the folder holds it.
        scorer: Folder of the scorer that picks the best of its pictures; empty for none.

    Raises:
        ValueError: The description contradicts itself.
    """

    name: str
    title: str
    family: Family
    source: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    revision: str | None = None
    size_multiple: int = 8
    max_pixels: int = 0
    styles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    default_style: str | None = None
    vocabulary: tuple[str, ...] = ()
    num_things: int = 0
    verbs: frozenset[str] = frozenset({Imagine.verb})
    honours: frozenset[str] = PIPELINE_ABILITIES
    sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)
    text_encoder: str = ""
    scorer: str = ""

    def __post_init__(self) -> None:
        for is_wrong, problem in self._problems():
            if is_wrong:
                raise ValueError(problem)

    def _problems(self) -> Iterator[tuple[bool, str]]:
        letters = self.name.replace("-", "").replace("_", "").replace(".", "")
        yield not letters.isalnum(), "name must be letters, digits, '-', '_' and '.'"
        step = self.size_multiple
        yield step < 8 or step % 8 > 0, "size_multiple must be a multiple of 8"
        for side_px in (self.width, self.height):
            yield side_px % step > 0, f"width and height must be multiples of {step}"
            yield not 16 <= side_px <= 4096, "width and height must be from 16 to 4096"
        yield 0 < self.max_pixels < self.width * self.height, "max_pixels is below the trained size"
        steps = self.num_inference_steps
        yield not 1 <= steps <= MAX_STEPS, f"num_inference_steps must be from 1 to {MAX_STEPS}"
        yield not 1.0 <= self.guidance_scale <= 30.0, "guidance_scale must be from 1 to 30"
        for style, template in self.styles.items():
            yield "{prompt}" not in template, f"style {style!r} has no {{prompt}} in its template"
            yield style.split() != [style], f"style {style!r} must be one word, for `--style`"
        unknown_style = self.default_style is not None and self.default_style not in self.styles
        yield unknown_style, f"default_style {self.default_style!r} is not one of the styles"
        unknown = sorted(self.honours - ABILITIES)
        yield bool(unknown), f"unknown abilities {', '.join(unknown)}"
        strange = sorted(self.verbs - VERBS.keys())
        yield bool(strange), f"unknown verbs {', '.join(strange)}"

    @property
    def pixel_limit(self) -> int:
        """Most pixels an image may have."""
        return self.max_pixels or 2 * self.width * self.height

    def styled(self, prompt: str, style: str | None) -> str:
        """Return `prompt` in the words the checkpoint was trained on for `style`.

        Raises:
            InvalidRequest: It has no style of that name.
        """
        name = self.default_style if style is None else style
        if name is None:
            return prompt
        if name not in self.styles:
            raise InvalidRequest("style", name, f"one of {', '.join(self.styles) or 'none'}")
        return self.styles[name].replace("{prompt}", prompt)

    def caption(self, request: Imagine, text: str) -> str:
        """Return one part of a request's prompt in the words that are drawn.

        The request brings its style's words along; a record of before that was so takes those of
        today.

        Raises:
            InvalidRequest: It brings none, and there is no style of that name.
        """
        if request.template:
            return request.template.replace("{prompt}", text)
        return self.styled(text, request.style)


PATTERN = Checkpoint(
    name="pattern",
    title="Test pattern (no model)",
    family="pattern",
    source="",
    width=128,
    height=128,
    num_inference_steps=4,
    guidance_scale=2.0,
    styles={"plain": "{prompt}", "bold": "{prompt}, bold"},
    default_style="plain",
    honours=ABILITIES - {"tile", "chaos"},
)


def is_name(text: str) -> bool:
    """Whether a text can name a style or a model: a word of any script, without any markup."""
    return (
        0 < len(text) <= MAX_NAME
        and text[0].isalnum()
        and all(
            letter.isalnum() or letter in "_.-" or unicodedata.category(letter) in {"Mn", "Mc"}
            for letter in text
        )
    )


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return the description that a checkpoint folder carries in its `atelier.json`.

    Raises:
        CheckpointCorrupt: The file is missing, not JSON, or has missing, unknown or wrong keys.
    """
    path = folder / MANIFEST
    try:
        manifest = border.json_of(path)
    except FileRefused as error:
        raise CheckpointCorrupt(str(error)) from error
    if unknown := sorted(manifest.keys() - _MANIFEST_TYPES.keys()):
        raise CheckpointCorrupt(f"{path} has unknown keys: {', '.join(unknown)}")
    if missing := sorted(_MANIFEST_TYPES.keys() - _OPTIONAL - manifest.keys()):
        raise CheckpointCorrupt(f"{path} lacks the keys {', '.join(missing)}")
    for key, value in manifest.items():
        if not _has_type(value, _MANIFEST_TYPES[key]):
            raise CheckpointCorrupt(f"{path}: {key} must be {_MANIFEST_TYPES[key]}, not {value!r}")
    fields = {**manifest, "vocabulary": tuple(manifest.get("vocabulary", ()))}
    if "verbs" in fields:
        fields["verbs"] = frozenset(fields["verbs"])
    is_distilled = fields.pop("kind", "") == DISTILLED  # which trainer made it
    try:
        return Checkpoint(
            **fields,
            family="slots",
            source=str(folder),
            size_multiple=EMBEDDED_MULTIPLE_PX,
            honours=DISTILLED_ABILITIES if is_distilled else SLOT_ABILITIES,
        )
    except ValueError as error:
        raise CheckpointCorrupt(f"{path}: {error}") from error


def shipped() -> list[Checkpoint]:
    """Return every checkpoint that draws and comes with this package, the default one first.

    Raises:
        CheckpointCorrupt: A description cannot be read.
    """
    found = sorted(path.parent for path in SHIPPED.glob(f"*/{PIPELINE_INDEX}"))
    found.sort(key=lambda folder: folder != EMBEDDED)
    scorer = str(EMBEDDED_SCORER)
    return [dataclasses.replace(read_checkpoint(folder), scorer=scorer) for folder in found]


_MANIFEST_TYPES = {
    "kind": "a text",
    "name": "a text",
    "title": "a text",
    "width": "a whole number",
    "height": "a whole number",
    "num_inference_steps": "a whole number",
    "guidance_scale": "a number",
    "styles": "an object of texts",
    "default_style": "a text",
    "vocabulary": "a list of texts",
    "num_things": "a whole number",
    "text_encoder": "a text",
    "verbs": "a list of texts",
    "sha256": "an object of texts",
}
_OPTIONAL = {"kind", "vocabulary", "num_things", "text_encoder", "verbs"}


def _has_type(value: Any, wanted: str) -> bool:
    if wanted == "a text":
        return isinstance(value, str)
    if wanted == "a whole number":
        return type(value) is int
    if wanted == "a number":
        # Compared, not converted: a whole number may be too large for a float.
        return type(value) in {int, float} and abs(value) < math.inf
    if wanted == "a list of texts":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def verify(folder: Path, sha256: Mapping[str, str]) -> None:
    """Check every recorded file against its SHA-256.

    Raises:
        CheckpointCorrupt: Lists each file that is missing, outside the folder or different, with
            the expected and the found digest.
    """
    wrong = []
    for name, expected in sorted(sha256.items()):
        path = folder / name
        # By name: the files of a hub's snapshot are links into its store of blobs.
        if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            found = "a path outside the folder"
        elif not path.is_file():
            found = "no such file"
        else:
            found = sha256_of(path)
        if found != expected.lower():
            wrong.append(f"{name}: expected {expected}, found {found}")
    if wrong:
        raise CheckpointCorrupt(f"{folder} differs from its record: " + "; ".join(wrong))


def weights_in(sha256: Mapping[str, str]) -> dict[str, str]:
    """Return the recorded hashes of the files that pictures depend on."""
    return {name: digest for name, digest in sha256.items() if name != MEANINGS}


def size_for(checkpoint: Checkpoint, ratio: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height in pixels that come closest to `ratio` at the trained area.

    Both sides are multiples of `size_multiple`, so the ratio is only met as closely as those
    allow; a wrong ratio weighs twice as much as a wrong area (both as logarithms).

    Args:
        checkpoint: Whose trained size and multiple count.
        ratio: Width and height in any unit.

    Raises:
        InvalidRequest: A side is not positive, or the ratio lies outside 1:3 to 3:1.
    """
    across, down = ratio
    shown = f"{across}:{down}"
    if across <= 0 or down <= 0 or not down <= 3 * across <= 9 * down:
        raise InvalidRequest("aspect", shown, "between 1:3 and 3:1")
    native = (checkpoint.width, checkpoint.height)
    if across * checkpoint.height == down * checkpoint.width:
        return native
    area = checkpoint.width * checkpoint.height
    target = across / down
    step = checkpoint.size_multiple

    def error(size: tuple[int, int]) -> tuple[float, int]:
        width, height = size
        wrong_ratio = abs(math.log(width / height / target))
        wrong_area = abs(math.log(width * height / area))
        return wrong_ratio + wrong_area / 2, width

    ideal_width, ideal_height = math.sqrt(area * target), math.sqrt(area / target)
    sizes = [
        (width, height)
        for width in _multiples_near(ideal_width, step)
        for height in _multiples_near(ideal_height, step)
        if width * height <= checkpoint.pixel_limit and MIN_RATIO <= width / height <= MAX_RATIO
    ]
    return min(sizes, key=error, default=native)


def _multiples_near(side_px: float, step: int) -> list[int]:
    """Return the allowed sides around `side_px`: the two multiples on either side of it."""
    below = math.floor(side_px / step)
    return [count * step for count in range(below - 1, below + 3) if 16 <= count * step <= 4096]
