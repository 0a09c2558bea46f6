"""The laws of noise and velocity, checked against the stock scheduler that will use them."""

import pytest
import torch
from torch import Tensor

from generation.learning.training import noising
from generation.learning.training.noising import PREDICTIONS

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def clean_and_noise() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 4, 8, 8)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def perfect_output(prediction: str, clean: Tensor, noise: Tensor, level: float) -> Tensor:
    alphas, sigmas = noising.alphas_and_sigmas(prediction, torch.full((3,), level))
    if prediction == "sample":
        return clean
    return noising.velocity(prediction, clean, noise, alphas, sigmas)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_perfect_network_leads_the_scheduler_from_noise_to_the_picture(
    prediction: str, steps: int
) -> None:
    clean, noise = clean_and_noise()
    sampler = noising.scheduler(prediction)
    sampler.set_timesteps(steps)
    latents = noise
    for timestep in sampler.timesteps:
        output = perfect_output(prediction, clean, noise, (timestep.item() + 0.5) / 1000)
        latents = sampler.step(output, timestep, latents).prev_sample
    torch.testing.assert_close(latents, clean, rtol=0, atol=0.02)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_training_meets_the_noise_that_the_scheduler_draws_with(prediction: str) -> None:
    sampler = noising.scheduler(prediction)
    sampler.set_timesteps(7)
    for number, timestep in enumerate(sampler.timesteps.tolist()):
        drawn_alpha, drawn_sigma = sampler._sigma_to_alpha_sigma_t(sampler.sigmas[number])
        level = sampler.sigmas[number] if prediction != "v_prediction" else (timestep + 0.5) / 1000
        alphas, sigmas = noising.alphas_and_sigmas(prediction, torch.tensor([float(level)]))
        torch.testing.assert_close(alphas.flatten()[0], drawn_alpha, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(sigmas.flatten()[0], drawn_sigma, rtol=1e-3, atol=1e-5)


def test_times_are_named_as_the_scheduler_names_them() -> None:
    sampler = noising.scheduler("flow")
    sampler.set_timesteps(7)
    sigmas = sampler.sigmas[:-1].double()
    # The scheduler computes in float64 and stores float32; ask away from exact thousandths.
    away = (sigmas * 1000 - (sigmas * 1000).round()).abs() > 1e-3
    assert away.any()
    assert torch.equal(noising.timesteps_of(sigmas)[away], sampler.timesteps[away])


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_perfect_output_has_no_error_and_any_other_has(prediction: str) -> None:
    clean, noise = clean_and_noise()
    alphas, sigmas = noising.alphas_and_sigmas(prediction, torch.full((3,), 0.4))
    perfect = perfect_output(prediction, clean, noise, 0.4)
    assert noising.velocity_error(prediction, perfect, clean, noise, alphas, sigmas) == 0
    assert noising.velocity_error(prediction, perfect + 0.1, clean, noise, alphas, sigmas) > 0.009


def test_clean_picture_is_judged_by_the_velocity_it_implies() -> None:
    clean, noise = clean_and_noise()
    output = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    alphas, sigmas = noising.alphas_and_sigmas("sample", torch.tensor([0.2, 0.5, 0.9]))
    noisy = alphas * clean + sigmas * noise
    implied = (noisy - output) / sigmas
    expected = (implied - (noise - clean)).square().mean()
    found = noising.velocity_error("sample", output, clean, noise, alphas, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_noise_levels_lie_inside_and_centre_where_asked() -> None:
    levels = noising.noise_levels(20_000, 0.4, 1.0, torch.Generator().manual_seed(0))
    assert levels.min() > 0
    assert levels.max() < 1
    assert torch.logit(levels).mean().item() == pytest.approx(0.4, abs=0.03)
    assert torch.logit(levels).std().item() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_line_runs_from_picture_to_noise(prediction: str) -> None:
    alphas, sigmas = noising.alphas_and_sigmas(prediction, torch.tensor([0.0, 0.9999]))
    torch.testing.assert_close(alphas.flatten(), torch.tensor([1.0, 0.0]), rtol=0, atol=2e-3)
    torch.testing.assert_close(sigmas.flatten(), torch.tensor([0.0, 1.0]), rtol=0, atol=1e-2)
