"""What the bits of a picture depend on outside its request and its checkpoint.

Two processes whose fields are equal compute the same bits from the same weights. Read once, when a
checkpoint is loaded: nothing here is asked for each job.
"""

import functools
import importlib.metadata
import os
import platform
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from generation.techniques import protocol
from generation.techniques.device import DeviceChoice, name_of

# Of the libraries that compute: which kernels they take, and in what precision.
VARIABLES = (
    "ATEN_CPU_", "CUBLAS", "CUDA_DISABLE", "CUDNN_", "DIFFUSERS_ATTN", "DNNL_", "GLIBC_TUNABLES",
    "KMP_", "MKL_", "NPY_", "NVIDIA_TF32", "OMP_", "ONEDNN_", "TORCH_ALLOW_TF32", "TORCH_BLAS", "TORCH_CUDNN",
    "TORCH_LINALG", "TORCH_NNPACK",
)  # fmt: skip
_ONLY_SAID = "VERBOSE"
_NOT_DETERMINISTIC = "deterministic implementation"


def engine_fields(choice: DeviceChoice) -> dict[str, str]:
    """Return versions, processor, number formats and settings, by name."""
    is_cpu = choice.device == "cpu"
    return {
        "atelier": protocol.atelier_version(),
        "torch": torch.__version__,
        **{name: importlib.metadata.version(name) for name in ("diffusers", "transformers")},
        "pillow": PIL.__version__,
        # Schedulers compute their noise levels with numpy and with Python's `math`.
        "numpy": np.__version__,
        "libc": "-".join(platform.libc_ver()),
        "device": choice.device,
        "device_name": name_of(choice.device),
        "processor": processor(),
        "driver": driver() if choice.device == "cuda" else "",
        "dtype": choice.dtype,
        "matmul": torch.get_float32_matmul_precision(),
        "threads": str(choice.threads_per_lane) if is_cpu else "",
        "variables": variables(os.environ),
    }


def variables(environ: Mapping[str, str]) -> str:
    """Return the variables that choose kernels, as `NAME=value` in the order of their names."""
    found = (
        f"{name}={value}"
        for name, value in sorted(environ.items())
        if name.startswith(VARIABLES) and _ONLY_SAID not in name
    )
    return " ".join(found)


@functools.cache
def processor() -> str:
    """Return the CPU's name, caches and instructions, of which its libraries choose kernels."""
    told = dict(torch.cpu.get_capabilities())
    name = told.pop("cpu_name", "") or platform.processor()
    caches = [
        f"{key}={told.pop(key)}" for key in ("l1d_cache_size", "l2_cache_size") if key in told
    ]
    instructions = sorted(key for key, value in told.items() if value is True)
    return " ".join([str(name), *caches, *instructions])


def driver() -> str:
    """Return the versions of what stands between torch and an NVIDIA GPU."""
    cudnn: Any = torch.backends.cudnn
    versions = {
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version(),
        "driver": _kernel_module(),
        "tf32": f"{torch.backends.cuda.matmul.allow_tf32}/{cudnn.allow_tf32}",
    }
    return " ".join(f"{name}={value}" for name, value in versions.items())


def _kernel_module() -> str:
    try:
        told = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"Module.*?\s(\d[\d.]*)\s", told)
    return found[1] if found else ""


class Undetermined:
    """Remembers which operations this process ran for which the GPU promises no bits.

    torch says it in a warning, once; the promise of equal bits ends with it, so a fingerprint
    must know.
    """

    def __init__(self) -> None:
        self._operations: set[str] = set()
        self._is_listening = False

    def listen(self) -> None:
        """Look at every warning from now on, in any thread; the others go on as before."""
        if self._is_listening:
            return
        self._is_listening = True
        warnings.filterwarnings("always", message=f".*{_NOT_DETERMINISTIC}.*")
        show = warnings.showwarning

        def shown(message: Warning | str, *args: Any, **kwargs: Any) -> None:
            if not self.heard(str(message)):
                show(message, *args, **kwargs)

        warnings.showwarning = shown

    def heard(self, message: str) -> bool:
        """Return whether a warning tells of such an operation, and remember it."""
        if _NOT_DETERMINISTIC not in message:
            return False
        self._operations.add(message.split(maxsplit=1)[0])
        return True

    @property
    def operations(self) -> str:
        """Their names; empty as long as every bit is promised."""
        return " ".join(sorted(self._operations))


UNDETERMINED = Undetermined()
