"""How much the engine adds to the bare model, and how fast a worker is there."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from generation.engine.engine import Engine
from generation.engine.supervisor import Supervisor
from generation.techniques import device
from generation.work.checkpoints import EMBEDDED, PATTERN, Checkpoint, read_checkpoint
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.results import ImagesDone

IMAGES = 4
ROUNDS = 5
PATTERN_ORDERS = 100
Row = tuple[str, float, str]
Work = Callable[..., None]


def request_of(checkpoint: Checkpoint, num_images: int) -> Imagine:
    return Imagine(
        prompts=(WeightedPrompt("a red apple"),),
        model=checkpoint.name,
        seed=7,
        width=checkpoint.width,
        height=checkpoint.height,
        num_inference_steps=checkpoint.num_inference_steps,
        guidance_scale=checkpoint.guidance_scale,
        num_images=num_images,
    )


def _seconds(work: Callable[[], Any]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _passes(technique: Any, request: Imagine, images: int) -> tuple[Work, Work]:
    """Return one forward pass of the denoiser, and one of the decoder, for so many images."""
    import torch

    pipeline = technique._pipeline
    rows = images * (2 if request.guidance_scale > 1 else 1)
    side = (request.height // pipeline.vae_scale_factor, request.width // pipeline.vae_scale_factor)
    dtype = pipeline.unet.dtype
    latents = torch.randn(rows, pipeline.unet.config.in_channels, *side).to(dtype)
    timesteps = torch.full((rows,), 500)
    embeds = technique._encoder.prompt_embeds(request).to(dtype).expand(rows, -1, -1)

    def denoise(_: Any = None) -> None:
        with torch.inference_mode():
            pipeline.unet(latents, timesteps, encoder_hidden_states=embeds, return_dict=False)

    def decode(_: Any = None) -> None:
        with torch.inference_mode():
            pipeline.vae.decode(latents[:images], return_dict=False)

    return denoise, decode


def _bare_in_lanes(technique: Any, request: Imagine) -> Work:
    """Return the denoiser and decoder alone, in the engine's own layout of batches and lanes."""
    size = technique._micro_batch
    denoise, decode = _passes(technique, request, size)
    pool = ThreadPoolExecutor(technique._lanes)

    def draw() -> None:
        for _ in range(request.num_inference_steps):
            list(pool.map(denoise, range(0, request.num_images, size)))
        list(pool.map(decode, range(0, request.num_images, size)))

    return draw


def _bare_at_once(technique: Any, request: Imagine) -> Work:
    """Return the denoiser and decoder alone, all images in one batch, torch's threads on all."""
    import torch

    denoise, decode = _passes(technique, request, request.num_images)
    choice = device.choose("cpu")

    def draw() -> None:
        torch.set_num_threads(choice.threads)
        for _ in range(request.num_inference_steps):
            denoise()
        decode()
        torch.set_num_threads(choice.threads_per_lane)

    return draw


def _engine_rows(checkpoint: Checkpoint) -> list[Row]:
    from generation.techniques.diffusion import loading

    technique = loading.load(checkpoint, device.choose("cpu"))
    engine = Engine.of(technique)
    request = request_of(checkpoint, IMAGES)

    def ours() -> None:
        engine.draw([Order(1, request)], lambda event: None)

    bare, at_once = _bare_in_lanes(technique, request), _bare_at_once(technique, request)
    for work in (bare, ours):
        work()
    rounds = [(_seconds(bare), _seconds(ours)) for _ in range(ROUNDS)]  # in turn: same weather
    at_once_s = _seconds(at_once)  # once: on a busy machine its threads wait for each other
    ratio = statistics.median(mine / min(lanes, at_once_s) for lanes, mine in rounds)
    in_lanes_s, ours_s = map(min, zip(*rounds, strict=True))
    steps = f"{IMAGES} images, {request.num_inference_steps} steps"
    return [
        (f"engine: bare denoiser + decoder in two lanes, {steps}", in_lanes_s, "s"),
        (f"engine: bare denoiser + decoder as one batch, {steps}", at_once_s, "s"),
        (f"engine: drawn, step by step, to PNG files, {steps}", ours_s, "s"),
        ("engine: ratio to the faster bare one (at most 1.5)", ratio, "x"),
    ]


async def _first_image_s(checkpoint: Checkpoint) -> float:
    started_s = time.perf_counter()
    supervisor = Supervisor(checkpoints={checkpoint.name: checkpoint}, device="cpu")
    try:
        events = [e async for e in supervisor.render([Order(1, request_of(checkpoint, 1))])]
    finally:
        await supervisor.stop()
    if not isinstance(events[-2], ImagesDone):
        raise RuntimeError(f"nothing was drawn: {events[-1]}")
    return time.perf_counter() - started_s


async def _pattern_rows() -> list[Row]:
    order = Order(1, request_of(PATTERN, 1))
    supervisor = Supervisor(checkpoints={PATTERN.name: PATTERN})
    started_s = time.perf_counter()
    await supervisor.start()
    ready_s = time.perf_counter() - started_s
    durations_s, drawn_s = [], []
    try:
        for _ in range(PATTERN_ORDERS):
            started_s = time.perf_counter()
            events = [event async for event in supervisor.render([order])]
            durations_s.append(time.perf_counter() - started_s)
            drawn_s.append(events[-2].elapsed_s)  # type: ignore[union-attr]
    finally:
        await supervisor.stop()
    overhead_ms = statistics.median(durations_s) - statistics.median(drawn_s)
    return [
        ("worker: start without a model", ready_s, "s"),
        ("worker: overhead of an order (everything but drawing)", overhead_ms * 1e3, "ms"),
    ]


def run() -> Iterator[Row]:
    """Yield rows of name, value and unit."""
    yield from asyncio.run(_pattern_rows())
    checkpoint = read_checkpoint(EMBEDDED)
    cold_s = asyncio.run(_first_image_s(checkpoint))
    yield "worker: cold start to the first embedded image", cold_s, "s"
    yield from _engine_rows(checkpoint)
