"""Opening a checkpoint with diffusers: safetensors only, no code from a hub."""

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from safetensors import SafetensorError
from torch.utils import deterministic

from generation.judging.scorer import files as scorer_files
from generation.techniques import protocol
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion import files
from generation.techniques.diffusion.folder import lacking
from generation.techniques.fingerprint import UNDETERMINED, engine_fields
from generation.work.checkpoints import Checkpoint
from generation.work.errors import CheckpointCorrupt
from generation.work.results import FILE, EngineFingerprint

# What the libraries raise at a configuration that names a class, a part or a key they do not have.
_UNLOADABLE = (
    OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError, TypeError,
    SafetensorError,
)  # fmt: skip
DECODER_CHANNELS_LAST = "contiguous, decoder channels_last"
CHANNELS_LAST = "channels_last"


def load(checkpoint: Checkpoint, choice: DeviceChoice) -> protocol.Technique[Any]:
    """Return a checkpoint's technique, loaded onto the chosen device.

    Raises:
        CheckpointCorrupt: It is not pinned, not as recorded, or not loadable.
    """
    quieten()
    make_deterministic(choice)
    pipeline = open_pipeline(checkpoint, choice)
    family = files.family_in(_folder(checkpoint))
    fingerprint = fingerprint_of(checkpoint, choice, pipeline)
    if family.is_ours:
        from generation.techniques.diffusion.slots import Slots

        return Slots(checkpoint, choice, pipeline, fingerprint)
    if checkpoint.family == "slots":
        kind = type(pipeline).__name__
        raise CheckpointCorrupt(f"{checkpoint.name} is a {kind}: its family is 'pipeline'")
    from generation.techniques.diffusion.pipelines import WholePipeline

    return WholePipeline(checkpoint, pipeline, family, fingerprint)


def open_pipeline(checkpoint: Checkpoint, choice: DeviceChoice) -> DiffusionPipeline:
    """Return the checkpoint's diffusers pipeline on the chosen device, after checking its files.

    Raises:
        CheckpointCorrupt: It is not pinned, not as recorded, or not loadable.
    """
    files.check(checkpoint)
    folder = _folder(checkpoint)
    files.family_in(folder)  # refuses what nobody looked at before it is loaded
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            folder,
            variant=files.variant_of(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=getattr(torch, choice.dtype),
            **_outside_components(checkpoint),
        )
    except _UNLOADABLE as error:
        raise CheckpointCorrupt(f"{checkpoint.name} cannot be loaded: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(choice.device)
    lay_out(pipeline, choice)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval().requires_grad_(requires_grad=False)
    return pipeline


def _folder(checkpoint: Checkpoint) -> Path:
    """Return where its files lie.

    Raises:
        CheckpointCorrupt: Some are missing, or not what can be loaded.
    """
    folder = files.fetched(checkpoint)
    if folder is None:
        raise CheckpointCorrupt(f"{checkpoint.source} has not been downloaded")
    if problem := lacking(checkpoint, folder):
        raise CheckpointCorrupt(problem)
    return folder


def lay_out(pipeline: DiffusionPipeline, choice: DeviceChoice) -> None:
    """Put weights where convolutions want them, and the decoder in numbers that do not overflow."""
    vae, layout = pipeline.vae, memory_format_of(choice)
    if choice.dtype == "float16":
        # Pipelines that know of it lift it for each picture and lower it afterwards, unless
        # something goes wrong in between.
        vae.to(torch.float32)
        vae.register_to_config(force_upcast=False)
    laid_out = {CHANNELS_LAST: pipeline.components.values(), DECODER_CHANNELS_LAST: [vae]}
    for component in laid_out.get(layout, ()):
        for module in component.modules() if isinstance(component, torch.nn.Module) else ():
            if isinstance(module, torch.nn.Conv2d):
                weight = module.weight.data
                module.weight.data = weight.contiguous(memory_format=torch.channels_last)


def _outside_components(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the parts that are not in the checkpoint's own folder.

    The safety checker of old checkpoints is left out: pictures are checked elsewhere, for all.
    """
    if not checkpoint.text_encoder:
        return {}
    from generation.language.text_encoder import TextEncoderUnavailable, load_text_encoder

    try:
        text_encoder, tokenizer = load_text_encoder()
    except TextEncoderUnavailable as error:
        raise CheckpointCorrupt(str(error)) from error
    return {
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def fingerprint_of(
    checkpoint: Checkpoint, choice: DeviceChoice, pipeline: DiffusionPipeline
) -> EngineFingerprint:
    """Return everything outside a request that this checkpoint's pictures' bits depend on."""
    folder = _folder(checkpoint)
    fields = {
        **engine_fields(choice),
        "technique": "slots" if files.family_in(folder).is_ours else "pipeline",
        "micro_batch": str(choice.micro_batch(checkpoint.width, checkpoint.height)),
        "memory_format": memory_format_of(choice),
        "compiled": "no",
        "pipeline": type(pipeline).__name__,
        "scheduler": type(pipeline.scheduler).__name__,
        "revision": checkpoint.revision or "",
        "variant": files.variant_of(folder) or "",
    }
    return EngineFingerprint({**fields, **_file_hashes(checkpoint)})


def memory_format_of(choice: DeviceChoice) -> str:
    """Return how weights lie in memory, as it was measured to be fastest.

    Four pictures of the embedded size in bfloat16 on two cores: the decoder takes 29 ms channels
    last and 41 ms contiguous, the denoiser 322 ms and 303 ms (group norm is slow channels last).
    """
    return {"cpu": DECODER_CHANNELS_LAST, "cuda": CHANNELS_LAST}.get(choice.device, "contiguous")


def _file_hashes(checkpoint: Checkpoint) -> dict[str, str]:
    """Return `sha256:<file>` to digest of every weight file, `settings:<file>` of all others.

    The text encoder's are included, and the scorer's: no picture's bits depend on it, but which
    pictures a request with spare ones is given.
    """
    hashes = files.weight_hashes(checkpoint)
    if checkpoint.text_encoder:
        from generation.language import text_encoder

        hashes |= {f"text_encoder:{name}": value for name, value in text_encoder.SHA256.items()}
    if checkpoint.scorer:
        found = scorer_files.check(Path(checkpoint.scorer))
        hashes |= {f"scorer:{name}": digest for name, digest in found.items()}
    fields = {f"{FILE}{name}": digest for name, digest in hashes.items()}
    if files.is_local(checkpoint):  # a hub's commit pins them
        settings = files.settings_hashes(Path(checkpoint.source))
        fields |= {f"settings:{name}": digest for name, digest in settings.items()}
    return fields


def make_deterministic(choice: DeviceChoice) -> None:
    """Have torch give the same bits for the same work on this device."""
    torch.set_num_threads(choice.threads_per_lane)
    if choice.device == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        # Filling costs time, and nothing reads what was never written.
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        UNDETERMINED.listen()


def quieten() -> None:
    """Keep the libraries from printing: diffusers quotes prompts that it cuts off."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
