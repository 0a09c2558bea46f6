"""From picture to noise: the line that training walks, and the stock scheduler that walks it back.

A noisy picture is `alpha * clean + sigma * noise`. Three ways to train are known, each one that
diffusers' DPMSolverMultistepScheduler can draw with:

- `flow`: a straight line, alpha = 1 - sigma; the network predicts the velocity `noise - clean`.
- `sample`: the same line; the network predicts the clean picture, judged by its velocity.
- `v_prediction`: a circle, alpha^2 + sigma^2 = 1, on the cosine schedule; the network predicts
  the velocity `alpha * noise - sigma * clean`.
"""

from collections.abc import Sequence

import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import betas_for_alpha_bar
from torch import Tensor

PREDICTIONS = ("flow", "sample", "v_prediction")
NUM_TRAIN_TIMESTEPS = 1000
LEAST_SIGMA = 0.05


def scheduler(prediction: str, solver_order: int = 2) -> DPMSolverMultistepScheduler:
    """Return the sampler a checkpoint is stored with: DPM-Solver++ on the line of its training.

    Args:
        prediction: One of `PREDICTIONS`.
        solver_order: 2 for a teacher of many steps; 1 where each step was trained on its own.
    """
    common = {"num_train_timesteps": NUM_TRAIN_TIMESTEPS, "solver_order": solver_order}
    # Stable Diffusion's pipeline warns about, and overrides, any other offset.
    common["steps_offset"] = 1
    if prediction == "v_prediction":
        return DPMSolverMultistepScheduler(
            prediction_type="v_prediction",
            beta_schedule="squaredcos_cap_v2",
            timestep_spacing="trailing",
            **common,
        )
    return DPMSolverMultistepScheduler(
        prediction_type="flow_prediction" if prediction == "flow" else "sample",
        use_flow_sigmas=True,
        flow_shift=1.0,
        **common,
    )


def noise_levels(count: int, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """Draw noise levels whose logit is normal.

    Source: Esser et al., Scaling Rectified Flow Transformers, arXiv 2403.03206, section 3.1.

    Returns:
        float32 of shape (count,), strictly between 0 (clean) and 1 (noise).
    """
    return torch.sigmoid(mean + std * torch.randn(count, generator=generator))


def normal(shape: Sequence[int], device: torch.device, generator: torch.Generator) -> Tensor:
    """Return noise on a device, float32.

    On the CPU it comes from the generator itself; elsewhere from one that it seeds, because drawing
    here and copying there would take a fifth of a step.
    """
    if device.type == "cpu":
        return torch.randn(*shape, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    there = torch.Generator(device).manual_seed(seed)
    return torch.randn(*shape, generator=there, device=device)


def timesteps_of(levels: Tensor) -> Tensor:
    """Return the integer time the scheduler will name a noise level by: it truncates.

    Source: diffusers 0.42.1, DPMSolverMultistepScheduler.set_timesteps with `use_flow_sigmas`.
    """
    return (levels * NUM_TRAIN_TIMESTEPS).long().clamp(max=NUM_TRAIN_TIMESTEPS - 1)


def alphas_and_sigmas(prediction: str, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much of picture and noise there is at each level.

    Source: Nichol and Dhariwal, Improved DDPM, arXiv 2102.09672, equation 17 for the cosine, taken
    at the integer times that its scheduler knows.

    Args:
        levels: Between 0 and 1, shape (batch,).

    Returns:
        Two of shape (batch, 1, 1, 1).
    """
    if prediction == "v_prediction":
        kept = (1 - betas_for_alpha_bar(NUM_TRAIN_TIMESTEPS)).cumprod(0)
        share = kept.to(levels.device)[timesteps_of(levels)]
        alphas, sigmas = share.sqrt(), (1 - share).sqrt()
    else:
        alphas, sigmas = 1 - levels, levels
    return alphas.view(-1, 1, 1, 1), sigmas.view(-1, 1, 1, 1)


def velocity(
    prediction: str, clean: Tensor, noise: Tensor, alphas: Tensor, sigmas: Tensor
) -> Tensor:
    """Return how the noisy picture moves as the noise grows.

    Source: Liu et al., Flow Straight and Fast, arXiv 2209.03003, equation 1, for the line; Salimans
    and Ho, Progressive Distillation, arXiv 2202.00512, appendix D, for the circle.
    """
    if prediction == "v_prediction":
        return alphas * noise - sigmas * clean
    return noise - clean


def velocity_error(
    prediction: str, output: Tensor, clean: Tensor, noise: Tensor, alphas: Tensor, sigmas: Tensor
) -> Tensor:
    """Return the mean square error of the velocity that a network's output stands for.

    Source: Li and He, Back to Basics, arXiv 2511.13720, table 1 (3a) for a clean picture judged by
    its velocity, with its lower limit on the divisor.
    """
    if prediction == "sample":
        return ((output - clean) / sigmas.clamp(min=LEAST_SIGMA)).square().mean()
    return (output - velocity(prediction, clean, noise, alphas, sigmas)).square().mean()
