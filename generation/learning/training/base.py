"""A checkpoint that is to be fine-tuned: any folder laid out like Stable Diffusion or SDXL.

What is needed of it is asked of the checkpoint itself: its pipeline encodes words, its autoencoder
pictures, and its scheduler says what its denoiser predicts.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor

from generation.learning.training.loop import TrainingStopped
from generation.learning.training.run import Placement
from generation.techniques import protocol
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion.loading import open_pipeline, quieten
from generation.work import border
from generation.work.checkpoints import DISTILLED, MANIFEST, Checkpoint, read_checkpoint
from generation.work.progress import Progress

PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow_prediction")
LEAST_SIGMA = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Words:
    """What a denoiser is told about each of some texts.

    Attributes:
        states: Word by word, shape (texts, tokens, features).
        pooled: As a whole, shape (texts, features), where the layout has it (SDXL).
    """

    states: Tensor
    pooled: Tensor | None


@dataclasses.dataclass(frozen=True, slots=True)
class Latents:
    """Pictures as the autoencoder sees them, float32 (pictures, channels, height, width).

    Attributes:
        mean: The middle of each picture's distribution.
        std: Its width; None where encoding leaves nothing to chance.
    """

    mean: Tensor
    std: Tensor | None

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return one draw of each of some pictures."""
        if self.std is None:
            return self.mean[rows]
        noise = torch.randn(self.mean[rows].shape, generator=generator)
        return self.mean[rows] + self.std[rows] * noise


@dataclasses.dataclass(frozen=True, slots=True)
class Base:
    """An open checkpoint, frozen.

    Attributes:
        description: What it says of itself; without an `atelier.json`, common assumptions.
    """

    pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline
    description: Checkpoint
    at: Placement

    @property
    def unet(self) -> UNet2DConditionModel:
        """The denoiser."""
        return self.pipeline.unet

    @torch.no_grad()
    def encode_pictures(self, paths: Sequence[Path], report: Progress) -> Latents:
        """Return pictures scaled to cover the trained size, cropped around their middle, on white.

        Raises:
            TrainingStopped: A file is no picture.
        """
        width, height = self.description.width, self.description.height
        vae = self.pipeline.vae.float()  # once a picture, so what it costs does not matter
        means, stds = [], []
        for number, path in enumerate(paths):
            image = protocol.fit(_on_white(path), width, height)
            pixels = self.pipeline.image_processor.preprocess(image)
            encoded = vae.encode(pixels.float().to(self.at.device))
            is_drawn = hasattr(encoded, "latent_dist")
            means.append(encoded.latent_dist.mean if is_drawn else encoded.latents)
            stds += [encoded.latent_dist.std] if is_drawn else []
            report("encode pictures", number + 1, len(paths))
        scale = vae.config.scaling_factor
        mean, std = (
            torch.cat(part).float().cpu() * scale if part else None for part in (means, stds)
        )
        if mean is None:
            raise TrainingStopped("there are no pictures to train on")
        return Latents(mean, std)

    @torch.no_grad()
    def encode_words(self, texts: Sequence[str], report: Progress) -> Words:
        """Return the words as the pipeline encodes them, and last of all those of an empty prompt."""
        states, pooled = [], []
        empty: list[Tensor] = []
        for number, text in enumerate(texts):
            encoded = self.pipeline.encode_prompt(
                prompt=text,
                device=self.at.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=True,
            )
            states.append(encoded[0].cpu())
            pooled += [encoded[2].cpu()] if len(encoded) > 2 else []
            empty = [part.cpu() for part in encoded[1::2]]
            report("encode captions", number + 1, len(texts))
        return Words(
            torch.cat([*states, empty[0]]),
            torch.cat([*pooled, empty[1]]) if pooled else None,
        )

    def error(
        self, clean: Tensor, words: Words, numbers: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return how far the denoiser is off, each picture at a noise level drawn for it.

        Args:
            clean: Latents, float32.
            words: Of all texts.
            numbers: Which text belongs to which picture.
            generator: Draws noise and levels, on the CPU.
        """
        levels = torch.rand(len(clean), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        scheduler, device = self.pipeline.scheduler, self.at.device
        timesteps = (levels * scheduler.config.num_train_timesteps).long()
        alphas, sigmas = (part.view(-1, 1, 1, 1) for part in alphas_and_sigmas(scheduler, levels))
        noisy = (alphas * clean + sigmas * noise).to(device, self.at.dtype)
        told = {}
        if words.pooled is not None:
            width, height = self.description.width, self.description.height
            sizes = torch.tensor([[height, width, 0, 0, height, width]])
            told = {
                "text_embeds": words.pooled[numbers].to(device, self.at.dtype),
                "time_ids": sizes.repeat(len(clean), 1).to(device, self.at.dtype),
            }
        output = self.unet(
            noisy,
            timesteps.to(device),
            encoder_hidden_states=words.states[numbers].to(device, self.at.dtype),
            added_cond_kwargs=told,
        ).sample.float()
        wanted = target(prediction_of(scheduler), clean, noise, alphas, sigmas).to(device)
        difference = output - wanted
        if prediction_of(scheduler) == "sample" and is_straight(scheduler):
            # The velocity's error: Li and He, Back to Basics, arXiv 2511.13720, table 1 (3a).
            difference = difference / sigmas.clamp(min=LEAST_SIGMA).to(device)
        return difference.square().mean()


def open_base(folder: Path, at: Placement) -> Base:
    """Open a checkpoint folder for fine-tuning.

    Raises:
        CheckpointCorrupt: It cannot be loaded, or is not as recorded.
        TrainingStopped: It is not laid out like Stable Diffusion, or predicts something unknown.
    """
    quieten()
    has_manifest = (folder / MANIFEST).is_file()
    if has_manifest and border.json_of(folder / MANIFEST).get("kind") == DISTILLED:
        raise TrainingStopped(
            f"{folder} is distilled to few steps, which a LoRA would undo; teach the checkpoint it"
            " was distilled from, and distil that again"
        )
    description = read_checkpoint(folder) if has_manifest else _assumed(folder)
    kind = str(at.dtype).removeprefix("torch.")
    pipeline = open_pipeline(description, DeviceChoice(at.device.type, kind, 1, "for training"))
    unet = getattr(pipeline, "unet", None)
    is_known = isinstance(pipeline, StableDiffusionPipeline | StableDiffusionXLPipeline)
    if not is_known or not isinstance(unet, UNet2DConditionModel):
        raise TrainingStopped(
            f"{folder} is a {type(pipeline).__name__}; a LoRA can be trained for checkpoints laid"
            " out like Stable Diffusion or SDXL"
        )
    if unet.config.in_channels != pipeline.vae.config.latent_channels:
        raise TrainingStopped(
            f"the denoiser in {folder} also wants to see a mask or a picture; take the"
            " text-to-image checkpoint that it was made from"
        )
    if prediction_of(pipeline.scheduler) not in PREDICTIONS or not (
        is_straight(pipeline.scheduler) or hasattr(pipeline.scheduler, "alphas_cumprod")
    ):
        raise TrainingStopped(
            f"the scheduler in {folder} is a {type(pipeline.scheduler).__name__}, which does not"
            f" say which of {', '.join(PREDICTIONS)} the denoiser predicts"
        )
    if not has_manifest:
        side_px = unet.config.sample_size * pipeline.vae_scale_factor
        description = dataclasses.replace(description, width=side_px, height=side_px)
    return Base(pipeline, description, at)


def is_straight(scheduler: object) -> bool:
    """Say whether noise is added along a straight line, as in flow matching."""
    config = scheduler.config  # type: ignore[attr-defined]
    return bool(config.get("use_flow_sigmas")) or prediction_of(scheduler) == "flow_prediction"


def prediction_of(scheduler: object) -> str:
    """Return what the denoiser predicts, in the words of diffusers."""
    return str(scheduler.config.get("prediction_type", ""))  # type: ignore[attr-defined]


def alphas_and_sigmas(scheduler: object, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of picture and noise at levels from 0 (clean) to 1, shape (batch,).

    Source: Liu et al., Flow Straight and Fast, arXiv 2209.03003, equation 1, for the straight line;
    Ho et al., Denoising Diffusion Probabilistic Models, arXiv 2006.11239, equation 4, otherwise.
    """
    if is_straight(scheduler):
        return 1 - levels, levels
    kept: Tensor = scheduler.alphas_cumprod.float().cpu()  # type: ignore[attr-defined]
    share = kept[(levels * len(kept)).long()]
    return share.sqrt(), (1 - share).sqrt()


def target(prediction: str, clean: Tensor, noise: Tensor, alphas: Tensor, sigmas: Tensor) -> Tensor:
    """Return what the denoiser should say.

    Source: Salimans and Ho, Progressive Distillation, arXiv 2202.00512, appendix D, for v.
    """
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return clean
    if prediction == "v_prediction":
        return alphas * noise - sigmas * clean
    return noise - clean


def _assumed(folder: Path) -> Checkpoint:
    return Checkpoint(
        name="base",
        title=folder.name,
        family="pipeline",
        source=str(folder),
        width=512,
        height=512,
        num_inference_steps=25,
        guidance_scale=7.0,
    )


def _on_white(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=("PNG",)) as opened:
            picture = opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TrainingStopped(
            f"{path} cannot be read as a picture ({error}); mend it or take it out of the folder"
        ) from error
    canvas = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(canvas, picture).convert("RGB")
