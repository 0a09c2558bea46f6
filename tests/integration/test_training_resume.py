"""A run that is killed without warning goes on as if nothing had happened."""

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from generation.learning.recipes.work import Work
from generation.learning.training import diffusion
from generation.learning.training.diffusion import DiffusionRecipe
from generation.work.progress import silent
from tests.unit.generation.learning.training import toy

# diffusers 0.42.1 hands tensors to numpy 2 the old way when it sets timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS = 24
TIMEOUT_S = 120


def recipe(save_every_s: float) -> DiffusionRecipe:
    run = dataclasses.replace(
        toy.RUN, steps=STEPS, save_every_s=save_every_s, log_every=3, validate_every=5
    )
    return dataclasses.replace(toy.DIFFUSION, run=run)


def train_until_killed(root: Path) -> None:
    """Run in a process of its own."""
    diffusion.train(Work(root, "tiny"), recipe(save_every_s=0.1), silent)


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def step_on_disk(work: Work) -> int:
    steps = [path.name.removeprefix("snapshot-") for path in work.run("diffusion").glob("snap*")]
    return max((int(step) for step in steps if step.isdigit()), default=0)


def kill_on_the_way(work: Work) -> None:
    process = subprocess.Popen([sys.executable, "-m", __name__, str(work.root)])
    until = time.monotonic() + TIMEOUT_S
    try:
        while step_on_disk(work) == 0:
            assert process.poll() is None, "training ended before it was killed"
            assert time.monotonic() < until, "training did not get going"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_and_resumed_run_has_the_curve_and_the_weights_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    killed, undisturbed = toy.toy_work(tmp_path / "killed"), toy.toy_work(tmp_path / "undisturbed")
    kill_on_the_way(killed)
    assert 0 < step_on_disk(killed) < STEPS
    assert not killed.checkpoint("diffusion").exists()
    for work in (killed, undisturbed):
        diffusion.train(work, recipe(save_every_s=1e9), silent)
    for name in ("curve.csv", "checkpoint/unet/diffusion_pytorch_model.safetensors"):
        resumed = (killed.run("diffusion") / name).read_bytes()
        assert resumed == (undisturbed.run("diffusion") / name).read_bytes(), name


if __name__ == "__main__":
    train_until_killed(Path(sys.argv[1]))
