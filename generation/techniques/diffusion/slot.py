"""One picture on its way from noise to pixels, independent of every other."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from generation.work.orders import Order
from generation.work.requests.imagine import Imagine
from generation.work.results import DrawnImage


@dataclasses.dataclass(slots=True, eq=False)
class Slot:
    """One picture on its way from noise.

    Args:
        order: The job it belongs to.
        index: Its place in the job, from 0.
        latents: [1, channels, height, width] in float32.
        scheduler: Its own; diffusers' schedulers hold state.
        timesteps: The scheduler's, from where it started; may hold two a step (Heun).
        generator: Its own source of chance, on the CPU.
        prompt_embeds: [1, tokens, features].
        negative_prompt_embeds: The same, or None without guidance.
        position: How many of `timesteps` are done.
    """

    order: Order
    index: int
    latents: torch.Tensor
    scheduler: Any
    timesteps: torch.Tensor
    generator: torch.Generator
    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None
    position: int = 0

    @property
    def is_done(self) -> bool:
        """Whether it has no step left."""
        return self.position >= len(self.timesteps)

    @property
    def shape_key(self) -> tuple[object, ...]:
        """What must be alike to share a forward pass."""
        return (*self.latents.shape, *self.prompt_embeds.shape, self.is_guided)

    @property
    def is_guided(self) -> bool:
        """Whether its prompt is weighed against its negative prompt."""
        return self.negative_prompt_embeds is not None


def timesteps_of(scheduler: Any, request: Imagine, device: torch.device) -> torch.Tensor:
    """Return the timesteps that are left after what `strength` skips.

    Source: diffusers, `StableDiffusionImg2ImgPipeline.get_timesteps`.
    """
    scheduler.set_timesteps(request.num_inference_steps, device=device)
    start = request.start_step * scheduler.order
    if request.start and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    timesteps: torch.Tensor = scheduler.timesteps[start:]
    return timesteps


def batched(slots: Sequence[Slot], size: int) -> Iterator[Sequence[Slot]]:
    """Yield the slots in micro-batches: those alike together, at most `size` of them."""
    groups: dict[tuple[object, ...], list[Slot]] = {}
    for slot in slots:
        groups.setdefault(slot.shape_key, []).append(slot)
    for group in groups.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]


def by_order(
    slots: Sequence[Slot], images: Sequence[DrawnImage]
) -> Iterator[tuple[Order, tuple[DrawnImage, ...]]]:
    """Yield each order with its pictures; the slots of an order stand together and end together."""
    pairs = zip(slots, images, strict=True)
    for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].order.job_id):
        together = list(group)
        yield together[0][0].order, tuple(image for _, image in together)
