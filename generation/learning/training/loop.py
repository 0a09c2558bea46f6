"""One loop for every trainer: exact resume, early stop, curves, sheets, clear ends."""

import contextlib
import dataclasses
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from generation.learning.training import curve, snapshots
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Placement, Run
from generation.learning.training.weights import Weights
from generation.work import disk
from generation.work.progress import Progress

logger = logging.getLogger(__name__)

CURVE_CSV, CURVE_PNG, SHEETS = "curve.csv", "curve.png", "sheets"
WEIGHTS, AVERAGES, BEST, OPTIMIZER = (
    f"{name}.safetensors" for name in ("weights", "averages", "best", "optimizer")
)
REPORT_EVERY_S = 0.2

Validate = Callable[[], Mapping[str, float]]
DrawSheet = Callable[[], Image.Image]


class TrainingStopped(RuntimeError):
    """Training cannot go on; the last good snapshot stays, and the message says what to do."""


@dataclass(frozen=True, slots=True)
class Player:
    """Modules that follow one objective; a GAN has two, most trainers one.

    Attributes:
        modules: Trained together; gradients reach them only during their own turn.
        losses: Step number and batch size to loss terms by name; draws its own batch from
            `run.generator_at(seed, step)`. May leave out terms at some steps; without any, the player
            sits this turn out.
        terms: Weight of every loss term.
        is_divisible: Whether a batch may be computed in parts: its pictures do not look at each
            other, and `losses` keeps nothing. Every part is then asked for under a number of its
            own.
    """

    name: str
    modules: Mapping[str, nn.Module]
    losses: Callable[[int, int], Mapping[str, Tensor]]
    terms: Mapping[str, float]
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    is_divisible: bool = False


@dataclass(slots=True)
class _State:
    """What a resumed run needs besides tensors; plain JSON."""

    step: int = 0
    fingerprint: str = ""
    batch_size: int = 0  # halved where memory ran out
    recipe_batch_size: int = 0  # what the recipe said then; 0 in snapshots that did not keep it
    views: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    worse_in_a_row: int = 0
    window: list[dict[str, float]] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        steps: Steps taken in all.
        kept_step: The step whose weights the modules now hold.
        views: Pictures seen, repetitions counted.
        curve: Points with `step`, `<player>.<term>` and `validation.<name>`.
        seconds: Wall clock since the start or the resumption.
    """

    steps: int
    kept_step: int
    views: int
    curve: Sequence[Mapping[str, float]]
    seconds: float

    def last(self, key: str) -> float:
        """Return the last value of one line of the curve, NaN if it has none."""
        return next((point[key] for point in reversed(self.curve) if key in point), math.nan)


class Loop:
    """Trains players in turn until the last step or until validation no longer improves.

    A run that was killed and resumed gives the same curve and the same weights, to the last digit
    on the same CPU, as one that was not.

    Args:
        title: Shown by progress and above the curve.
        folder: Keeps snapshots, `curve.csv`, `curve.png` and `sheets/`.
        players: In the order of their turns.
        steps: See `Run.total_steps`.
        validate: Computes losses on unseen pictures with the averaged weights; the first decides.
        draw_sheet: Draws the sample sheet with the averaged weights.
        fingerprint: Of the data; a snapshot made on other data is not taken up.

    Raises:
        TrainingStopped: The snapshot in `folder` belongs to another model or other data, or the
            run wants several workers and a player's batches cannot be divided.
    """

    def __init__(
        self,
        title: str,
        folder: Path,
        run: Run,
        place: Placement,
        players: Sequence[Player],
        steps: int,
        validate: Validate | None = None,
        draw_sheet: DrawSheet | None = None,
        fingerprint: str = "",
    ) -> None:
        self.title, self.folder, self.settings, self.place = title, folder, run, place
        self.players, self.steps = tuple(players), steps
        if run.workers > 1 and not all(player.is_divisible for player in players):
            raise TrainingStopped(f"{title}: its batches cannot be divided; set workers = 1")
        self.validate, self.draw_sheet = validate, draw_sheet
        self.weights = {
            player.name: Weights(
                player.modules, player.optimizer, run.ema_decay, place.device, place.dtype
            )
            for player in players
        }
        self._factors = {p.name: p.schedule.factor_at(steps) for p in players}
        self._best: dict[str, list[Tensor]] = {}
        self._state = _State(
            batch_size=run.batch_size, recipe_batch_size=run.batch_size, fingerprint=fingerprint
        )
        self._drawn = 0  # points of the curve that are in its picture
        self._snapshots = snapshots.Snapshots(folder)
        if run.compile and place.device.type == "cuda" and _has_compiler():
            for player in players:
                for module in player.modules.values():
                    module.compile()
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    def run(self, report: Progress) -> Outcome:
        """Train to the end, from the snapshot where there is one, and leave the kept weights.

        Raises:
            TrainingStopped: A loss is no longer a number, memory or disk ran out.
        """
        state, started_at = self._state, time.monotonic()
        first, saved_at, told_at = state.step, started_at, 0.0
        while not self._is_over():
            self.step(report)
            now = time.monotonic()
            if now - told_at > REPORT_EVERY_S or state.step == self.steps:
                told_at = now
                report(
                    self.title,
                    state.step,
                    self.steps,
                    self._note(state.step - first, now - started_at),
                )
            if now - saved_at > self.settings.save_every_s:
                self._save()
                saved_at = time.monotonic()
        if state.step > first or self._snapshots.last() is None:
            self._close_window()
            self._save()
        for name, weights in self.weights.items():
            weights.finish(self._best.get(name))
        return Outcome(
            steps=state.step,
            kept_step=state.best_step if self._best else state.step,
            views=state.views,
            curve=tuple(state.curve),
            seconds=time.monotonic() - started_at,
        )

    def step(self, report: Progress) -> None:
        """Give every player one turn, then log, validate and draw where it is time."""
        state, number = self._state, self._state.step
        values: dict[str, float] = {}
        for player in self.players:
            values.update(self._turn(player, number, report))
        state.window.append(values)
        state.step = number + 1
        state.views += state.batch_size
        if state.step % self.settings.log_every == 0:
            self._close_window()
        if self.validate and self._is_time(self.settings.validate_every):
            self._validate(self.validate)
        if self.draw_sheet and self._is_time(self.settings.sheet_every):
            self._draw_sheet(self.draw_sheet)

    def _close_window(self) -> None:
        """Make a point of the curve from the steps since the last one."""
        state = self._state
        if state.window:
            state.curve.append({"step": state.step, **_means(state.window)})
            state.window.clear()

    def _is_over(self) -> bool:
        state, patience = self._state, self.settings.patience
        return state.step >= self.steps or 0 < patience <= state.worse_in_a_row

    def _is_time(self, every: int) -> bool:
        return every > 0 and self._state.step % every == 0

    def _turn(self, player: Player, number: int, report: Progress) -> dict[str, float]:
        own = self.weights[player.name]
        with contextlib.ExitStack() as stack:
            for name, weights in self.weights.items():
                stack.enter_context(weights.listening(is_on=name == player.name))
            terms = self._backward(player, number, report)
        if not terms:
            return {}
        values = {name: term.item() for name, term in terms.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise self._diverged(f"{player.name}: the loss term {name!r} is {value}", number)
        length = own.step(number, self._factors[player.name](number))
        if not math.isfinite(length):
            raise self._diverged(f"{player.name}: the gradient is {length}", number)
        return {f"{player.name}.{name}": value for name, value in values.items()}

    def _backward(self, player: Player, number: int, report: Progress) -> Mapping[str, Tensor]:
        """Compute gradients; halve the batch for the rest of the run when memory runs out."""
        while True:
            size = self._state.batch_size
            try:
                if self.settings.workers > 1:
                    return self._divided(player, number, size)
                terms = player.losses(number, size)
                if terms:
                    self._total(player, terms).backward()
                return terms
            except torch.OutOfMemoryError as error:
                self.weights[player.name].forget_gradients()
                if size == 1:
                    raise TrainingStopped(
                        f"{self.title}: out of memory even with one picture at a time; take a"
                        " smaller model or size in the recipe"
                    ) from error
                self._state.batch_size = size // 2
            # Outside of `except`: the error's frames hold the tensors that must go first.
            if self.place.device.type == "cuda":
                torch.cuda.empty_cache()
            logger.warning("batch halved", extra={"batch_size": self._state.batch_size})
            report(
                self.title,
                number,
                self.steps,
                f"out of memory: from here on {self._state.batch_size} pictures a step",
            )

    def _divided(self, player: Player, number: int, size: int) -> Mapping[str, Tensor]:
        """Compute the parts of a batch at the same time, and their mean gradient."""
        workers, weights = self.settings.workers, self.weights[player.name].computing
        threads = torch.get_num_threads()

        def part(worker: int) -> tuple[Mapping[str, Tensor], Sequence[Tensor]]:
            torch.set_num_threads(threads)  # each thread has a number of its own
            terms = player.losses(number * workers + worker, -(-size // workers))
            # Not `backward`, which would add up in the order in which the parts happen to end.
            gradients = torch.autograd.grad(self._total(player, terms), weights)
            return {name: term.detach() for name, term in terms.items()}, gradients

        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(part, range(workers)))
        for weight, *gradients in zip(weights, *(each for _, each in parts), strict=True):
            weight.grad = torch.stack(gradients).mean(0)
        names = parts[0][0]
        return {name: torch.stack([terms[name] for terms, _ in parts]).mean() for name in names}

    def _total(self, player: Player, terms: Mapping[str, Tensor]) -> Tensor:
        self._check_terms(player, terms)
        return torch.stack([player.terms[name] * terms[name] for name in terms]).sum()

    def _check_terms(self, player: Player, terms: Mapping[str, Tensor]) -> None:
        if not set(terms) <= set(player.terms):
            raise TrainingStopped(
                f"{self.title}: the recipe weighs the loss terms {sorted(player.terms)}, but"
                f" {player.name} computes {sorted(terms)}; correct the recipe's loss table"
            )

    def _diverged(self, what: str, number: int) -> TrainingStopped:
        kept = self._snapshots.last()
        where = f"the last good state is kept in {kept}" if kept else "nothing was saved yet"
        return TrainingStopped(
            f"{self.title}, step {number}: {what}; {where}. Lower the learning rate or clip_norm in"
            " the recipe, or weigh that term less, and go on from there"
        )

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Compute with every player's averaged weights for a while, without gradients."""
        with contextlib.ExitStack() as stack:
            for weights in self.weights.values():
                stack.enter_context(weights.averaged())
            stack.enter_context(torch.no_grad())
            yield

    def _validate(self, validate: Validate) -> None:
        with self.averaged():
            found = dict(validate())
        state = self._state
        state.curve.append({"step": state.step, **{f"validation.{k}": v for k, v in found.items()}})
        loss = next(iter(found.values()))
        if loss < state.best_loss:
            state.best_loss, state.best_step, state.worse_in_a_row = loss, state.step, 0
            if self.settings.patience:
                self._best = {n: [t.clone() for t in w.kept] for n, w in self.weights.items()}
            return
        state.worse_in_a_row += 1

    def _draw_sheet(self, draw_sheet: DrawSheet) -> None:
        with self.averaged():
            sheet = draw_sheet()
        (self.folder / SHEETS).mkdir(exist_ok=True)
        sheet.save(self.folder / SHEETS / f"{self._state.step:07d}.png")

    def _note(self, steps: int, seconds: float) -> str:
        point = next((p for p in reversed(self._state.curve) if len(p) > 1), {})
        losses = [f"{key} {value:.4f}" for key, value in point.items() if key != "step"]
        return ", ".join([*losses[:3], f"{steps / max(seconds, 1e-9):.2f} steps/s"])

    def _save(self) -> None:
        state = self._state
        try:
            self._snapshots.write(state.step, dataclasses.asdict(state), self._tensors())
            if len(state.curve) > self._drawn:
                self._drawn = len(state.curve)
                curve.write_csv(state.curve, self.folder / CURVE_CSV)
                curve.draw(state.curve, self.folder / CURVE_PNG, self.title, state.best_step)
        except (OSError, SafetensorError) as error:
            if not disk.is_full(error):
                raise
            raise TrainingStopped(
                f"{self.title}: the disk is full, so step {state.step} could not be saved in"
                f" {self.folder}; the snapshot before it is kept. Make room and go on"
            ) from error

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        files: dict[str, dict[str, Tensor]] = {WEIGHTS: {}, AVERAGES: {}, BEST: {}, OPTIMIZER: {}}
        for player, weights in self.weights.items():
            kinds = {WEIGHTS: weights.masters, AVERAGES: weights.averages}
            kinds[BEST] = self._best.get(player, [])
            for file, tensors in kinds.items():
                named = zip(weights.names, tensors, strict=False)
                files[file] |= {f"{player}/{name}": t.contiguous() for name, t in named}
            memory = weights.optimizer_tensors()
            files[OPTIMIZER] |= {f"{player}/{name}": t.contiguous() for name, t in memory.items()}
        return {name: tensors for name, tensors in files.items() if tensors}

    def _resume(self) -> None:
        last = self._snapshots.last()
        if last is None:
            return
        try:
            state, files = snapshots.read(last)
            if state["fingerprint"] != self._state.fingerprint:
                raise ValueError("it was trained on other data")
            asked, self._state = self._state.batch_size, _State(**state)
            if self._state.recipe_batch_size not in {0, asked}:  # the recipe was edited since
                self._state.batch_size = self._state.recipe_batch_size = asked
            for player, weights in self.weights.items():
                own = {name: _of(player, tensors) for name, tensors in files.items()}
                weights.restore(own[WEIGHTS], own.get(AVERAGES, {}), own.get(OPTIMIZER, {}))
                if best := own.get(BEST):
                    kept = [best[name].to(self.place.device) for name in weights.names]
                    self._best[player] = kept
        except (KeyError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
            raise TrainingStopped(
                f"{last} cannot be taken up ({error}): it belongs to another recipe, or is damaged."
                " Restore the recipe, or start over with --fresh"
            ) from error
        logger.info("training resumed", extra={"run": self.title, "step": self._state.step})


def _has_compiler() -> bool:
    """Return whether torch.compile can build what it writes; it needs a C compiler for that."""
    found = any(map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))))
    if not found:
        logger.warning("not compiled: there is no C compiler; training goes on, slower")
    return found


def forget(folder: Path) -> None:
    """Delete a run's snapshots, curve and sheets, so that it starts over."""
    snapshots.Snapshots(folder).forget()
    shutil.rmtree(folder / SHEETS, ignore_errors=True)
    for name in (CURVE_CSV, CURVE_PNG):
        (folder / name).unlink(missing_ok=True)


def _means(window: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every value over the steps that have it."""
    keys = dict.fromkeys(key for values in window for key in values)
    found = {key: [values[key] for values in window if key in values] for key in keys}
    return {key: sum(numbers) / len(numbers) for key, numbers in found.items()}


def _of(player: str, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    prefix = f"{player}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
