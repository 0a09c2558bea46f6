"""Training loses nothing: not small updates, not a killed run's progress, not the reason it ended."""

import csv
import dataclasses
import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from generation.learning.training import loop, snapshots
from generation.learning.training.loop import Loop, Player, TrainingStopped
from generation.learning.training.optimizers import OPTIMIZERS, Optimizer, Schedule
from generation.learning.training.run import Placement, Run, generator_at
from generation.work.progress import silent

BFLOAT16 = Placement(torch.device("cpu"), torch.bfloat16)
FLOAT32 = Placement(torch.device("cpu"), torch.float32)
Losses = Callable[[int, int], Mapping[str, Tensor]]


class Toy:
    """A painter that learns to swap colours, and a critic that learns to tell."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.random.manual_seed(0)
            self.painter = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 1)
            )
            self.critic = nn.Sequential(
                nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 1)
            )
        self.seen: list[tuple[int, int]] = []

    def _batch(self, step: int, batch_size: int) -> Tensor:
        pictures = torch.rand((batch_size, 3, 8, 8), generator=generator_at(0, step))
        return pictures.to(self.painter[0].weight.dtype)

    def painter_losses(self, step: int, batch_size: int) -> Mapping[str, Tensor]:
        self.seen.append((step, batch_size))
        batch = self._batch(step, batch_size)
        painted = self.painter(batch)
        error = (painted - batch.flip(1)).float().square().mean()
        return {"pixels": error, "critic": -self.critic(painted).float().mean()}

    def critic_losses(self, step: int, batch_size: int) -> Mapping[str, Tensor]:
        if step < 3:  # a player may come in later
            return {}
        batch = self._batch(step, batch_size)
        gap = self.critic(self.painter(batch)) - self.critic(batch.flip(1))
        return {"gap": nn.functional.softplus(gap.float()).mean()}


def players(toy: Toy, optimizer: Optimizer, losses: Losses | None = None) -> list[Player]:
    flat = Schedule("constant", warmup=0)
    terms = {"pixels": 1.0, "critic": 0.01}
    modules = {"painter": toy.painter}
    return [
        Player("painter", modules, losses or toy.painter_losses, terms, optimizer, flat),
        Player("critic", {"critic": toy.critic}, toy.critic_losses, {"gap": 1.0}, optimizer, flat),
    ]


def toy_loop(
    folder: Path,
    run: Run,
    *,
    toy: Toy | None = None,
    place: Placement = BFLOAT16,
    optimizer: Optimizer | None = None,
    losses: Losses | None = None,
    validate: loop.Validate | None = None,
) -> Loop:
    both = players(toy or Toy(), optimizer or Optimizer(learning_rate=1e-2), losses)
    return Loop("toy", folder, run, place, both, run.steps, validate)


SHORT = Run(steps=24, batch_size=4, log_every=12, ema_decay=0.9, save_every_s=0.0)


@pytest.mark.parametrize("place", [BFLOAT16, FLOAT32], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_killed_and_resumed_run_equals_an_undisturbed_one(
    tmp_path: Path, name: str, place: Placement
) -> None:
    optimizer = Optimizer(name=name, learning_rate=1e-2, momentum=0.5)
    whole, toy, again = Toy(), Toy(), Toy()
    undisturbed = toy_loop(tmp_path / "whole", SHORT, toy=whole, place=place, optimizer=optimizer)
    expected = undisturbed.run(silent)

    def dies(step: int, batch_size: int) -> Mapping[str, Tensor]:
        if step == 17:  # in the middle of a window of the curve
            raise KeyboardInterrupt
        return toy.painter_losses(step, batch_size)

    parts = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        toy_loop(parts, SHORT, toy=toy, place=place, optimizer=optimizer, losses=dies).run(silent)
    resumed = toy_loop(parts, SHORT, toy=again, place=place, optimizer=optimizer).run(silent)
    assert again.seen[0] == (17, 4)
    assert resumed.curve == expected.curve
    assert (parts / loop.CURVE_CSV).read_bytes() == (
        tmp_path / "whole" / loop.CURVE_CSV
    ).read_bytes()
    for left, right in zip(again.painter.parameters(), whole.painter.parameters(), strict=True):
        assert torch.equal(left, right)


def test_loss_falls_and_the_curve_is_written(tmp_path: Path) -> None:
    outcome = toy_loop(tmp_path, Run(steps=200, batch_size=4, log_every=20)).run(silent)
    assert outcome.last("painter.pixels") < outcome.curve[0]["painter.pixels"] / 4
    assert outcome.views == 800
    with (tmp_path / loop.CURVE_CSV).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(20, 201, 20))
    assert float(rows[-1]["critic.gap"]) == outcome.last("critic.gap")
    with Image.open(tmp_path / loop.CURVE_PNG) as picture:
        assert picture.width > 500


def test_gradients_reach_a_player_in_its_own_turn_only(tmp_path: Path) -> None:
    toy = Toy()
    critic = [p.clone() for p in toy.critic.parameters()]
    toy_loop(tmp_path, Run(steps=3, batch_size=4), toy=toy, place=FLOAT32).run(silent)
    # Three steps in which the painter's loss went through the critic, which sat them out.
    assert all(map(torch.equal, critic, toy.critic.parameters()))


def alone(folder: Path, toy: Toy, run: Run, *, is_divisible: bool = True) -> Loop:
    optimizer = Optimizer(name="sgd", learning_rate=0.5, clip_norm=0.0)
    (player, _) = players(toy, optimizer)
    player = dataclasses.replace(player, is_divisible=is_divisible)
    return Loop("toy", folder, run, FLOAT32, [player], run.steps)


def test_workers_add_up_to_the_mean_gradient_of_their_parts(tmp_path: Path) -> None:
    toy, expected = Toy(), Toy()
    run = Run(steps=1, batch_size=6, ema_decay=0.0, workers=2)
    alone(tmp_path, toy, run).run(silent)
    assert sorted(toy.seen) == [(0, 3), (1, 3)]
    for step in (0, 1):
        terms = expected.painter_losses(step, 3)
        ((terms["pixels"] + 0.01 * terms["critic"]) / 2).backward()
    for moved, start in zip(toy.painter.parameters(), expected.painter.parameters(), strict=True):
        assert start.grad is not None
        assert torch.allclose(moved, start - 0.5 * start.grad, atol=1e-6)


def test_workers_give_the_same_weights_again(tmp_path: Path) -> None:
    run = Run(steps=12, batch_size=8, workers=3)
    first, second = Toy(), Toy()
    for name, toy in (("first", first), ("second", second)):
        alone(tmp_path / name, toy, run).run(silent)
    for left, right in zip(first.painter.parameters(), second.painter.parameters(), strict=True):
        assert torch.equal(left, right)


def test_batches_that_cannot_be_divided_are_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match="set workers = 1"):
        alone(tmp_path, Toy(), Run(workers=2), is_divisible=False)


def test_updates_below_bfloat16_resolution_add_up(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)

    def losses(step: int, batch_size: int) -> Mapping[str, Tensor]:
        return {"size": model(torch.ones((1, 1), dtype=torch.bfloat16)).sum().float()}

    player = Player(
        "one", {"model": model}, losses, {"size": 1.0}, Optimizer(learning_rate=1e-4),
        Schedule("constant", warmup=0),
    )  # fmt: skip
    run = Run(steps=100, ema_decay=0.0, log_every=100)
    Loop("one", tmp_path, run, BFLOAT16, [player], 100).run(silent)
    assert model.weight.item() == pytest.approx(0.99, abs=1e-4)


def test_run_ends_when_validation_turns_and_keeps_the_best_weights(tmp_path: Path) -> None:
    toy = Toy()
    losses = iter([3.0, 2.0, 1.0, 1.5, 1.2, 0.1])
    kept: list[Tensor] = []

    def validate() -> Mapping[str, float]:
        kept.append(toy.painter[0].weight.detach().float().clone())
        return {"pixels": next(losses)}

    run = Run(steps=60, batch_size=4, validate_every=10, patience=2, log_every=10)
    outcome = toy_loop(tmp_path, run, toy=toy, place=FLOAT32, validate=validate).run(silent)
    assert (outcome.steps, outcome.kept_step) == (50, 30)
    assert torch.equal(toy.painter[0].weight, kept[2])
    assert outcome.last("validation.pixels") == 1.2

    again = Toy()
    second = toy_loop(tmp_path, run, toy=again, place=FLOAT32, validate=validate).run(silent)
    assert (second.steps, second.kept_step) == (50, 30)  # it stays ended
    assert torch.equal(again.painter[0].weight, kept[2])


def test_batch_is_halved_when_memory_runs_out(tmp_path: Path) -> None:
    toy = Toy()
    told: list[str] = []

    def losses(step: int, batch_size: int) -> Mapping[str, Tensor]:
        if step >= 5 and batch_size > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return toy.painter_losses(step, batch_size)

    run = Run(steps=10, batch_size=16, log_every=5)
    toy_loop(tmp_path, run, toy=toy, losses=losses).run(lambda *words: told.append(str(words[3])))
    assert [size for _, size in toy.seen] == [16] * 5 + [2] * 5
    assert [step for step, _ in toy.seen] == list(range(10))
    assert any("from here on 2 pictures a step" in note for note in told)


def test_a_resumed_run_keeps_the_halved_batch_until_the_recipe_says_another(tmp_path: Path) -> None:
    toy = Toy()

    def scarce(step: int, batch_size: int) -> Mapping[str, Tensor]:
        if step == 3:
            raise KeyboardInterrupt
        if batch_size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return toy.painter_losses(step, batch_size)

    run = Run(steps=8, batch_size=8, log_every=4, save_every_s=0.0)
    with pytest.raises(KeyboardInterrupt):
        toy_loop(tmp_path, run, toy=toy, losses=scarce).run(silent)
    same = toy_loop(tmp_path, run)
    assert same._state.batch_size == 4
    edited = toy_loop(tmp_path, dataclasses.replace(run, batch_size=2))
    assert edited._state.batch_size == 2
    edited.run(silent)
    assert toy_loop(tmp_path, dataclasses.replace(run, batch_size=2))._state.batch_size == 2


def test_without_a_c_compiler_training_goes_on_uncompiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not loop._has_compiler()
    compiler = tmp_path / "gcc"
    compiler.touch(mode=0o755)
    assert loop._has_compiler()


def test_memory_for_not_even_one_picture_ends_with_advice(tmp_path: Path) -> None:
    def losses(step: int, batch_size: int) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingStopped, match="smaller model"):
        toy_loop(tmp_path, SHORT, losses=losses).run(silent)


def test_loss_that_is_no_number_names_its_term_and_keeps_the_last_good_state(
    tmp_path: Path,
) -> None:
    toy = Toy()

    def losses(step: int, batch_size: int) -> Mapping[str, Tensor]:
        terms = dict(toy.painter_losses(step, batch_size))
        if step == 14:
            terms["critic"] = terms["critic"] * float("nan")
        return terms

    with pytest.raises(
        TrainingStopped, match=r"step 14: painter: the loss term 'critic' is nan.*snapshot-0*14"
    ):
        toy_loop(tmp_path, SHORT, toy=toy, losses=losses).run(silent)
    healthy = Toy()
    toy_loop(tmp_path, SHORT, toy=healthy).run(silent)
    assert healthy.seen[0] == (14, 4)
    assert all(p.isfinite().all() for p in healthy.painter.parameters())


def test_term_the_recipe_does_not_weigh_is_refused_by_name(tmp_path: Path) -> None:
    toy = Toy()
    misspelt = {"pixel": 1.0, "critic": 0.1}
    player = Player("painter", {"painter": toy.painter}, toy.painter_losses, misspelt)
    with pytest.raises(TrainingStopped, match=r"'pixel'.*'pixels'"):
        Loop("toy", tmp_path, SHORT, FLOAT32, [player], 5).run(silent)


def test_full_disk_keeps_the_snapshot_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_loop(tmp_path, SHORT).run(silent)
    before = snapshots.Snapshots(tmp_path).last()
    assert before is not None

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(snapshots, "save_file", full)  # a disk of no room, at the library's border
    longer = Run(steps=36, log_every=12, batch_size=4, ema_decay=0.9)
    with pytest.raises(TrainingStopped, match=r"disk is full.*Make room"):
        toy_loop(tmp_path, longer).run(silent)
    assert snapshots.Snapshots(tmp_path).last() == before
    assert sorted(path.name for path in tmp_path.glob("snapshot-*")) == [before.name]


def test_snapshot_of_another_model_is_refused_with_advice(tmp_path: Path) -> None:
    toy_loop(tmp_path, SHORT).run(silent)
    other = Toy()
    other.painter = nn.Sequential(nn.Conv2d(3, 3, 1))
    with pytest.raises(TrainingStopped, match="--fresh"):
        toy_loop(tmp_path, SHORT, toy=other)


def test_snapshot_made_on_other_data_is_refused_with_advice(tmp_path: Path) -> None:
    toy = Toy()
    both = players(toy, Optimizer())
    Loop("toy", tmp_path, SHORT, FLOAT32, both, SHORT.steps, fingerprint="old").run(silent)
    with pytest.raises(TrainingStopped, match=r"other data.*--fresh"):
        Loop("toy", tmp_path, SHORT, FLOAT32, both, SHORT.steps, fingerprint="new")


def test_forgotten_run_starts_over(tmp_path: Path) -> None:
    toy_loop(tmp_path, SHORT).run(silent)
    loop.forget(tmp_path)
    again = Toy()
    toy_loop(tmp_path, SHORT, toy=again).run(silent)
    assert again.seen[0] == (0, 4)


def test_epochs_count_passes_over_the_pictures() -> None:
    assert Run(epochs=2.5, batch_size=32).total_steps(100) == 8
    assert Run(steps=7).total_steps(100) == 7


def test_every_seed_and_every_step_has_its_own_chance() -> None:
    drawn = {
        float(torch.rand((), generator=generator_at(s, n))) for s in range(9) for n in range(9)
    }
    assert len(drawn) == 81
    assert torch.rand((), generator=generator_at(3, 4)) == torch.rand(
        (), generator=generator_at(3, 4)
    )
