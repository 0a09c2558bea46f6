"""A pipeline that draws a whole picture, taken one step at a time.

It runs in a thread of its own, which diffusers' callback parks at the end of each step. To leave a
pipeline in the middle, the callback raises an exception of ours, which every pipeline lets pass.
"""

import threading
from collections.abc import Callable
from typing import Any

import torch

from generation.work.orders import Order
from generation.work.requests.imagine import Alike

Park = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]
"""diffusers' `callback_on_step_end`: pipeline, number of the step, timestep, tensors."""


class Left(Exception):
    """The picture is not wanted any more."""


class ParkedSlot:
    """One picture on its way through a pipeline.

    Some schedulers draw from torch's own source of chance and not from a generator that could be
    given to them. So each picture has a state of it to itself, from its seed on, put in its place
    whenever its thread goes on.

    Args:
        order: The order it belongs to.
        index: Its place in the order, from 0.
        draw: Returns its latents, calling what it is given at the end of each timestep.
        timesteps: How many of a scheduler's timesteps are one step (2 for Heun).

    Attributes:
        drawn: Its latents as the autoencoder wants them, once all steps are done.
        latents: Where its last step ended; None before and where the pipeline does not say.
    """

    def __init__(
        self, order: Order, index: int, draw: Callable[[Park], torch.Tensor], timesteps: int = 1
    ) -> None:
        self.order = order
        self.index = index
        self.steps = order.request.num_inference_steps - order.request.start_step
        self.steps_done = 0
        self.drawn: torch.Tensor | None = None
        self.latents: torch.Tensor | None = None
        self._draw = draw
        self._timesteps, self._timesteps_done = timesteps, 0
        self._thread: threading.Thread | None = None
        self._may_go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._is_left = False
        self._error: Exception | None = None

    @property
    def alike(self) -> Alike:
        """What it shares with others that step beside it."""
        return self.order.request.alike()

    def advance(self) -> None:
        """Take one step; the last one ends with the latents.

        Raises:
            Exception: What the pipeline raised.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
            self._thread.start()
        else:
            self._may_go.release()
        self._stands.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def leave(self) -> None:
        """Have the thread leave its pipeline, and wait until it has."""
        self._is_left = True
        if self._thread is not None:
            self._may_go.release()
            self._thread.join()

    def _run(self) -> None:
        try:
            torch.manual_seed(self.order.request.seed_of(self.index))
            self.drawn = self._draw(self._park)
            self.steps_done = self.steps
        except Left:
            pass
        except Exception as error:  # noqa: BLE001 -- raised again by `advance`
            self._error = error
        self.latents = None
        self._stands.release()

    def _park(
        self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        self._timesteps_done += 1
        is_within = self._timesteps_done % self._timesteps > 0
        if is_within or self.steps_done + 1 >= self.steps:
            return {}  # the last step ends with the latents
        self.steps_done += 1
        self.latents = tensors.get("latents")
        chance = _chance()
        self._stands.release()
        self._may_go.acquire()
        if self._is_left:
            raise Left
        _set_chance(chance)
        return {}


def _chance() -> list[torch.Tensor]:
    """Return the states of torch's own sources of chance: the CPU's, and a GPU's if it is used."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states.append(torch.cuda.get_rng_state())
    return states


def _set_chance(states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state)
