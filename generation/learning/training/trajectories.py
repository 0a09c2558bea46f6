"""The way of a drawing from noise to picture, stop by stop, as the stock pipeline goes it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import Tensor

from generation.learning.training import conditions
from generation.learning.training.run import Placement


@dataclass(frozen=True, slots=True)
class Trajectories:
    """The teacher's drawings, kept where the student will stop.

    Attributes:
        nodes: float16 (drawings, student's steps + 1, channels, height, width); the first is the
            noise, the last the finished latents.
        captions: Number of each drawing's caption.
        states: float16 (captions, tokens, features); the first is the empty prompt.
    """

    nodes: npt.NDArray[np.float16]
    captions: npt.NDArray[np.int64]
    states: npt.NDArray[np.float16]

    def at(self, numbers: Tensor, placement: Placement) -> tuple[Tensor, Tensor]:
        """Return nodes, float32 (steps + 1, n, ...), and states in the computing format."""
        nodes = torch.from_numpy(self.nodes[numbers.numpy()]).float().transpose(0, 1)
        states = torch.from_numpy(self.states[self.captions[numbers.numpy()]])
        return nodes.to(placement.device), states.to(placement.device, placement.dtype)

    def empty(self, count: int, placement: Placement) -> Tensor:
        """Return the empty prompt's states so many times."""
        states = torch.from_numpy(self.states[[conditions.EMPTY] * count])
        return states.to(placement.device, placement.dtype)


def walk(
    unet: UNet2DConditionModel,
    scheduler: DPMSolverMultistepScheduler,
    noise: Tensor,
    states: Tensor,
    steps: int,
    guidance_scale: float = 1.0,
    empty: Tensor | None = None,
) -> list[Tensor]:
    """Draw as the stock pipeline does, and return the latents at every stop, noise included.

    The scheduler is the one that the checkpoint is stored with, so what is trained is what is
    drawn. Gradients flow where they are wanted.

    Args:
        noise: float32 (n, channels, height, width).
        states: Of the captions, in the UNet's format.
        empty: States of as many empty prompts, for guidance.
    """
    scheduler.set_timesteps(steps, device=noise.device)
    guided = guidance_scale > 1
    context = states
    if guided and empty is not None:
        context = torch.cat([empty, states])
    latents = noise * scheduler.init_noise_sigma
    nodes = [latents]
    for timestep in scheduler.timesteps:
        several = latents.repeat(2, 1, 1, 1) if guided else latents
        output = unet(
            several.to(unet.dtype), timestep, encoder_hidden_states=context
        ).sample.float()
        if guided:
            without, with_words = output.chunk(2)
            output = without + guidance_scale * (with_words - without)
        latents = scheduler.step(output, timestep, latents, return_dict=False)[0]
        nodes.append(latents)
    return nodes
