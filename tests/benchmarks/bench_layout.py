"""Four pictures of the embedded checkpoint, in every layout of the work, beside what two cores could.

`generation.techniques.device` and `generation.techniques.diffusion.loading` choose by this table.
"""

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from generation.engine.engine import Engine
from generation.learning.assessment.timing import matrix_rate, operations_of
from generation.techniques import device
from generation.techniques.diffusion import loading
from generation.work.checkpoints import EMBEDDED, read_checkpoint
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine
from tests.benchmarks.bench_engine import request_of

IMAGES = 4
ROUNDS = 4
DTYPES = (torch.bfloat16, torch.float32)
FORMATS = (torch.contiguous_format, torch.channels_last)
Row = tuple[str, float, str]


def run() -> Iterator[Row]:
    """Yield rows of name, value and unit."""
    checkpoint, choice = read_checkpoint(EMBEDDED), device.choose("cpu")
    technique = loading.load(checkpoint, choice)
    engine = Engine.of(technique)
    request = request_of(checkpoint, IMAGES)
    drawn_s = _seconds(
        lambda: engine.draw([Order(1, request)], lambda event: None),
        1,
        choice.threads_per_lane,
        1,
    )
    pipeline: Any = technique._pipeline  # type: ignore[attr-defined]
    steps = request.num_inference_steps
    rows_each = 2 if request.guidance_scale > 1 else 1
    layouts = {  # lanes, pictures of each pass, threads of each lane
        (choice.lanes, 2, choice.threads_per_lane),
        (choice.lanes, 1, choice.threads_per_lane),
        (1, IMAGES, choice.threads),
    }
    for part, rounds, rows in (("unet", steps, rows_each), ("vae", 1, 1)):
        for dtype, memory_format in itertools.product(DTYPES, FORMATS):
            module = copy.deepcopy(getattr(pipeline, part)).to(dtype, memory_format=memory_format)
            for lanes, size, threads in sorted(layouts):
                inputs = _inputs(pipeline, request, size * rows, dtype, memory_format)
                work = _pass(part, module, *inputs)
                taken_s = _seconds(work, lanes, threads, rounds * IMAGES // size)
                number, order = str(dtype)[6:], str(memory_format)[6:].removesuffix("_format")
                yield (f"{part}: {number}, {order}, {lanes} x {size}", taken_s * 1e3, "ms")
    dtype = getattr(torch, choice.dtype)
    operations = sum(
        rounds * IMAGES * operations_of(_pass(part, getattr(pipeline, part), *inputs))
        for part, rounds, inputs in (
            ("unet", steps, _inputs(pipeline, request, rows_each, dtype, FORMATS[0])),
            ("vae", 1, _inputs(pipeline, request, 1, dtype, FORMATS[0])),
        )
    )
    rate = choice.lanes * matrix_rate(torch.device("cpu"), dtype)
    floor_s = operations / rate
    yield (f"{choice.dtype} matrix products on {choice.lanes} lanes", rate / 1e9, "GFLOP/s")
    yield (f"{IMAGES} pictures, denoiser and decoder", operations / 1e9, "GFLOP")
    yield (f"{IMAGES} pictures at that rate", floor_s, "s")
    yield (f"{IMAGES} pictures drawn, from words to PNG", drawn_s, "s")
    yield ("drawn / at that rate (at most 1.5)", drawn_s / floor_s, "x")


def _inputs(
    pipeline: Any, request: Imagine, rows: int, dtype: torch.dtype, order: torch.memory_format
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return latents and text states."""
    side = (request.height // pipeline.vae_scale_factor, request.width // pipeline.vae_scale_factor)
    latents = torch.randn(rows, pipeline.unet.config.in_channels, *side)
    width = pipeline.unet.config.cross_attention_dim
    states = torch.randn(rows, pipeline.tokenizer.model_max_length, width)
    return latents.to(dtype, memory_format=order), states.to(dtype)


def _pass(part: str, module: Any, latents: torch.Tensor, states: torch.Tensor) -> Callable[[], Any]:
    """Return one forward pass."""
    timesteps = torch.full((len(latents),), 500)

    @torch.inference_mode()
    def forward() -> Any:
        if part == "vae":
            return module.decode(latents, return_dict=False)
        return module(latents, timesteps, encoder_hidden_states=states, return_dict=False)

    return forward


def _seconds(work: Callable[[], Any], lanes: int, threads: int, times: int) -> float:
    """Return the best time of doing a piece of work so many times, in lanes side by side."""

    def piece(_: int) -> None:
        torch.set_num_threads(threads)
        work()

    taken_s = []
    with ThreadPoolExecutor(lanes) as pool:
        for _ in range(ROUNDS + 1):
            started_s = time.perf_counter()
            list(pool.map(piece, range(times)))
            taken_s.append(time.perf_counter() - started_s)
    return min(taken_s[1:])  # the first warms up
