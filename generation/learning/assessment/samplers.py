"""Open any checkpoint of ours as something that draws: prompts and seeds in, pictures out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline

from generation.learning.assessment.judge import Pictures, to_pictures, to_tensor
from generation.learning.training import checkpoint
from generation.techniques.device import DeviceChoice
from generation.techniques.gan.model import Gan
from generation.techniques.gan.model import load as load_gan
from generation.work import border, manifest
from generation.work.checkpoints import verify, weights_in
from generation.work.errors import CheckpointCorrupt, FileRefused

GAN, VAE = "gan", "vae"
KINDS = ("diffusion", "distill", "lora", GAN, VAE)


class AssessmentError(RuntimeError):
    """There is nothing to assess, or nothing to assess it with; the message says what to do."""


@dataclass(frozen=True, slots=True)
class About:
    """What a checkpoint's folder says of itself.

    Attributes:
        kind: one of `KINDS`.
        side_px: Of its pictures.
        sha256: Of every weight file that its pictures depend on.
    """

    name: str
    title: str
    kind: str
    side_px: int
    sha256: Mapping[str, str]
    manifest: Mapping[str, Any]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of things that it was taught, such as `food and drink`; empty for all."""
        return tuple(self.manifest.get("groups", ()))


class Sampler(Protocol):
    """Something that draws."""

    @property
    def about(self) -> About:
        """What its folder says."""

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Return one picture a prompt, uint8 (n, height, width, 3); each has its own seed."""


@dataclass(frozen=True, slots=True)
class Diffusion:
    """A diffusers folder, drawn by the stock pipeline with the steps and guidance it asks for."""

    about: About
    pipeline: StableDiffusionPipeline

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Return one picture a prompt, uint8 (n, height, width, 3)."""
        drawn = self.pipeline(
            list(prompts),
            width=self.about.side_px,
            height=self.about.side_px,
            num_inference_steps=self.about.manifest["num_inference_steps"],
            guidance_scale=self.about.manifest["guidance_scale"],
            # On the CPU whatever the device: the same noise everywhere.
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
        )
        return to_pictures(drawn.images.mul(2).sub(1))


@dataclass(frozen=True, slots=True)
class OnePass:
    """A GAN."""

    about: About
    gan: Gan

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Return one picture a prompt, uint8 (n, height, width, 3)."""
        return self.gan.draw(prompts, seeds)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """An autoencoder: it draws nothing, it repeats what it is shown."""

    about: About
    vae: AutoencoderTiny

    @torch.inference_mode()
    def reconstruct(self, pictures: Pictures) -> Pictures:
        """Return pictures after encoding and decoding, uint8 (n, height, width, 3)."""
        shown = to_tensor(pictures).to(self.vae.device, self.vae.dtype)
        return to_pictures(self.vae.decode(self.vae.encode(shown).latents).sample)


def about(folder: Path) -> About:
    """Read what a checkpoint folder says of itself, and check its files.

    Raises:
        AssessmentError: It is no checkpoint, of a kind that draws nothing, or damaged.
    """
    if not (folder / manifest.MANIFEST).exists():
        raise AssessmentError(
            f"no checkpoint in {folder}: it has no {manifest.MANIFEST}; make one with"
            " `atelier train diffusion`"
        )
    try:
        content = border.json_of(folder / manifest.MANIFEST)
    except FileRefused as error:
        raise AssessmentError(str(error)) from error
    kind = content.get("kind", "diffusion")  # the first checkpoints did not say
    if kind not in KINDS:
        raise AssessmentError(f"{folder} holds a {kind}; only {', '.join(KINDS)} can be assessed")
    if not isinstance(content.get("sha256"), dict):
        raise AssessmentError(f"{folder} records no hashes; copy or train it again")
    try:
        verify(folder, content["sha256"])
    except CheckpointCorrupt as error:
        raise AssessmentError(f"{error}; copy or train it again") from error
    name = content.get("name", kind)
    return About(
        name=name,
        title=content.get("title", name),
        kind=kind,
        side_px=content["side_px"] if kind in {GAN, VAE} else content["width"],
        sha256=weights_in(content["sha256"]),
        manifest=content,
    )


def open_sampler(folder: Path, choice: DeviceChoice) -> Sampler | Reconstruction:
    """Open a checkpoint on a device.

    Raises:
        AssessmentError: It is no checkpoint, of a kind that draws nothing, or damaged.
    """
    return _open(folder, choice, lambda part: part)


def untrained(folder: Path, choice: DeviceChoice, seed: int) -> Sampler | Reconstruction:
    """Open the same checkpoint as it was before it learned: what draws has fresh weights.

    The autoencoder of a diffusion checkpoint stays, so that only the denoiser is judged.
    """

    def fresh(part: Any) -> Any:
        with torch.random.fork_rng():
            torch.random.manual_seed(seed)  # initial weights only, forked
            return type(part).from_config(part.config)

    return _open(folder, choice, fresh)


def _open(
    folder: Path, choice: DeviceChoice, prepare: Callable[[Any], Any]
) -> Sampler | Reconstruction:
    read = about(folder)
    device, dtype = torch.device(choice.device), getattr(torch, choice.dtype)

    def placed(part: Any) -> Any:
        return prepare(part).to(device, dtype).eval()

    if read.kind == VAE:
        return Reconstruction(read, placed(AutoencoderTiny.from_pretrained(folder)))
    if read.kind == GAN:
        gan = load_gan(folder)
        parts = {name: placed(getattr(gan, name)) for name in ("mapping", "synthesis")}
        vae = None if gan.vae is None else gan.vae.to(device, dtype)
        return OnePass(read, dataclasses.replace(gan, **parts, vae=vae))
    pipeline = checkpoint.load(folder)
    pipeline.register_modules(unet=prepare(pipeline.unet).eval())
    pipeline.to(device, dtype)
    return Diffusion(read, pipeline)
