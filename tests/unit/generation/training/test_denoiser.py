"""The laws of flow matching, checked against the scheduler that will use them."""

import pytest
import torch

from generation.training import denoiser
from generation.training.checkpoint import scheduler

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def clean_and_noise() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 4, 8, 8)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 0.999])
def test_scheduler_recovers_the_picture_from_the_target(sigma: float) -> None:
    clean, noise = clean_and_noise()
    sampler = scheduler()
    sampler.set_timesteps(4)
    sampler._step_index = 0
    sampler.sigmas[0] = sigma
    noisy = denoiser.add_noise(clean, noise, torch.full((3,), sigma))
    recovered = sampler.convert_model_output(denoiser.flow_target(clean, noise), sample=noisy)
    torch.testing.assert_close(recovered, clean, rtol=0, atol=1e-5)


def test_exact_flow_leads_the_scheduler_from_noise_to_the_picture() -> None:
    clean, noise = clean_and_noise()
    sampler = scheduler()
    sampler.set_timesteps(6)
    latents = noise
    for timestep in sampler.timesteps:
        latents = sampler.step(noise - clean, timestep, latents).prev_sample
    torch.testing.assert_close(latents, clean, rtol=0, atol=0.02)


def test_times_are_named_as_the_scheduler_names_them() -> None:
    sampler = scheduler()
    sampler.set_timesteps(7)
    sigmas = sampler.sigmas[:-1].double()
    # The scheduler computes in float64 and stores float32; ask away from exact thousandths.
    away = (sigmas * 1000 - (sigmas * 1000).round()).abs() > 1e-3
    assert away.any()
    assert torch.equal(denoiser.timesteps_of(sigmas)[away], sampler.timesteps[away])


def test_noise_levels_lie_inside_and_centre_where_asked() -> None:
    sigmas = denoiser.noise_levels(20_000, 0.4, 1.0, torch.Generator().manual_seed(0))
    assert sigmas.min() > 0
    assert sigmas.max() < 1
    assert torch.logit(sigmas).mean().item() == pytest.approx(0.4, abs=0.03)
    assert torch.logit(sigmas).std().item() == pytest.approx(1.0, abs=0.03)


def test_line_runs_from_picture_to_noise() -> None:
    clean, noise = clean_and_noise()
    assert torch.equal(denoiser.add_noise(clean, noise, torch.zeros(3)), clean)
    assert torch.equal(denoiser.add_noise(clean, noise, torch.ones(3)), noise)
