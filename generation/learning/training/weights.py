"""Float32 masters of what is computed in a smaller format, their moving average and optimizer."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from generation.learning.training.optimizers import Optimizer


def memory_format(module: nn.Module, device: torch.device) -> torch.memory_format:
    """Return how a module's weights should lie in memory; what flows through it then follows.

    Channels last is faster wherever there are convolutions, except through group norm on a CPU:
    contiguous, a denoiser learns 8 % more pictures a second there.
    """
    has_group_norm = any(isinstance(each, nn.GroupNorm) for each in module.modules())
    if device.type == "cpu" and has_group_norm:
        return torch.contiguous_format
    return torch.channels_last


class Weights:
    """The trainable weights of some modules.

    Weights in bfloat16 (not autocast) train twice as fast as float32 where the device computes
    bfloat16; float32 masters receive the updates that are too small for them.

    Source: Micikevicius et al., Mixed Precision Training, arXiv 1710.03740, section 3.1.

    Args:
        modules: By name; compute in `dtype` on `device` after this call. Weights with
            `requires_grad` unset are frozen. Normalisation must keep no running statistics: only
            parameters are averaged and saved.
        optimizer: How gradients become steps.
        ema_decay: Ceiling of the moving average's decay; 0 keeps no average.

    Raises:
        ValueError: Nothing is trainable.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimizer: Optimizer,
        ema_decay: float,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.settings = optimizer
        self.ema_decay = ema_decay
        self._modules = dict(modules)
        for module in modules.values():
            module.to(device=device, memory_format=memory_format(module, device))  # type: ignore[call-overload]
        trainable = {name: p for name, p in self._named() if p.requires_grad}
        if not trainable:
            raise ValueError("none of the weights is trainable")
        self.names = tuple(trainable)
        self.masters = [p.detach().float().clone() for p in trainable.values()]
        self.averages = [m.clone() for m in self.masters] if ema_decay else []
        for module in modules.values():
            module.to(dtype)
        by_name = dict(self._named())
        self.computing: list[Tensor] = [by_name[name] for name in self.names]
        self.optimizer = optimizer.build(self.masters)

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        for module_name, module in self._modules.items():
            for name, parameter in module.named_parameters():
                yield f"{module_name}.{name}", parameter

    @property
    def kept(self) -> list[Tensor]:
        """The float32 weights to keep: the moving average where there is one."""
        return self.averages or self.masters

    @contextlib.contextmanager
    def listening(self, *, is_on: bool) -> Iterator[None]:
        """Let gradients reach these weights, or keep them away, for a while."""
        for weight in self.computing:
            weight.requires_grad = is_on
        try:
            yield
        finally:
            for weight in self.computing:
                weight.requires_grad = True

    def step(self, number: int, factor: float) -> float:
        """Apply the gradients to the masters and copy them back.

        Args:
            number: Step number, from 0.
            factor: Share of the peak learning rate to use.

        Returns:
            Length of the gradient before clipping. If it is no number nothing was changed.
        """
        for name, master, weight in zip(self.names, self.masters, self.computing, strict=True):
            if weight.grad is None:
                raise RuntimeError(f"{name} took no part in the loss")
            # Fused optimizers walk raw memory: strides must agree, or they mix up elements.
            master.grad = torch.empty_like(master).copy_(weight.grad)
            weight.grad = None
        longest = self.settings.clip_norm or float("inf")
        length = nn.utils.clip_grad_norm_(self.masters, longest).item()
        if not torch.isfinite(torch.tensor(length)):
            return length
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * factor
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(self.computing, self.masters)
            if self.averages:
                decay = min(self.ema_decay, (1 + number) / (10 + number))
                torch._foreach_lerp_(self.averages, self.masters, 1 - decay)
        return length

    def forget_gradients(self) -> None:
        """Drop what a failed pass has left."""
        for weight in self.computing:
            weight.grad = None

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Compute with the weights to keep for a while, in evaluation mode."""
        were_training = {name: module.training for name, module in self._modules.items()}
        with torch.no_grad():
            torch._foreach_copy_(self.computing, self.kept)
        for module in self._modules.values():
            module.eval()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.computing, self.masters)
            for name, module in self._modules.items():
                module.train(were_training[name])

    def finish(self, kept: list[Tensor] | None = None) -> None:
        """Leave the modules in float32 with the weights to keep, in evaluation mode.

        Args:
            kept: Other weights than the last ones, for example those of the best validation.
        """
        for module in self._modules.values():
            module.float().eval()
        by_name = dict(self._named())
        with torch.no_grad():
            for name, tensor in zip(self.names, kept or self.kept, strict=True):
                by_name[name].copy_(tensor)

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """Return the optimizer's memory by weight and kind, for example `unet.conv.weight|exp_avg`."""
        return {
            f"{name}|{key}": value
            for name, master in zip(self.names, self.masters, strict=True)
            for key, value in self.optimizer.state.get(master, {}).items()
            if isinstance(value, Tensor)
        }

    def restore(
        self,
        masters: Mapping[str, Tensor],
        averages: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
    ) -> None:
        """Take up an earlier run's weights by name.

        Raises:
            KeyError: They belong to another model.
        """
        with torch.no_grad():
            for number, name in enumerate(self.names):
                self.masters[number].copy_(masters[name])
                if self.averages:
                    self.averages[number].copy_(averages[name])
            torch._foreach_copy_(self.computing, self.masters)
        index = dict(zip(self.names, self.masters, strict=True))
        for label, value in optimizer.items():
            name, _, key = label.rpartition("|")
            master = index[name]
            # A moment must lie in memory as its master does, see `step`; a counter has no shape.
            like = torch.empty_like(master if value.shape == master.shape else value)
            self.optimizer.state[master][key] = like.to(master.device).copy_(value)
