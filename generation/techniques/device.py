"""Which device, number format and threads to draw with: explained rules, shown by `doctor`.

The layout on a CPU is two lanes, each a Python thread with half of the cores: two Python threads
with one intra-op thread each draw 15-35 % faster than two intra-op threads, and do not collapse
when the machine is busy. Pictures then depend on the intra-op threads of a lane (part of the
fingerprint), never on which lane they were drawn in. Importing this does not load torch.
"""

import contextlib
import dataclasses
import gc
import math
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from generation.work.errors import InvalidRequest, OutOfMemory

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16")
CPU_LANES = 2
SMALL_PIXELS = 256 * 256  # up to here a CPU gains from drawing two pictures in one forward pass
MIDDLE_PIXELS = 512 * 512  # up to here a GPU gains from batches


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceChoice:
    """Where and how to draw.

    Args:
        device: `cpu`, `cuda` or `mps`.
        dtype: `float32`, `bfloat16` or `float16`.
        threads: CPU cores to use, at least 1.
        reason: Why, in words for the operator.
    """

    device: str
    dtype: str
    threads: int
    reason: str

    @property
    def lanes(self) -> int:
        """Python threads that draw at the same time."""
        return min(CPU_LANES, self.threads) if self.device == "cpu" else 1

    @property
    def threads_per_lane(self) -> int:
        """Torch's intra-op threads in each lane."""
        return max(1, self.threads // self.lanes)

    def micro_batch(self, width: int, height: int) -> int:
        """Return how many pictures share a forward pass of a checkpoint trained at this size.

        A fixed number for each checkpoint: a result may depend on the size of a batch in its
        last bits, so missing pictures are padded with dummies.
        """
        pixels = width * height
        if self.device == "cpu":
            return 2 if pixels <= SMALL_PIXELS else 1
        return 4 if pixels <= MIDDLE_PIXELS else 1


def choose(device: str = "auto", dtype: str = "auto", threads: int = 0) -> DeviceChoice:
    """Choose what was left open, and check what was not.

    Args:
        device: `auto` or one of `DEVICES`; `auto` takes the first of cuda, mps, cpu that works.
        dtype: `auto` or one of `DTYPES`; `auto` takes the fastest that the device computes
            natively: bfloat16 where there is hardware for it, else float16 on cuda and float32
            elsewhere.
        threads: CPU cores to use; 0 for all physical cores this process may run on.

    Raises:
        InvalidRequest: One of them is unknown, or the device is not there.
    """
    if device not in DEVICES:
        raise InvalidRequest("device", device, f"one of {', '.join(DEVICES)}")
    if dtype not in DTYPES:
        raise InvalidRequest("dtype", dtype, f"one of {', '.join(DTYPES)}")
    if threads < 0:
        raise InvalidRequest("threads", threads, "0 or more")
    chosen, why_device = _device(device)
    precise, why_dtype = (dtype, "as configured") if dtype != "auto" else _dtype(chosen)
    cores = threads or physical_cores()
    why_threads = "as configured" if threads else "all cores"
    reason = f"{chosen}: {why_device}; {precise}: {why_dtype}; {cores} threads: {why_threads}"
    return DeviceChoice(chosen, precise, cores, reason)


def _device(wanted: str) -> tuple[str, str]:
    import torch

    has_cuda = torch.cuda.is_available() and _computes("cuda")
    has_mps = torch.backends.mps.is_available()
    present = {"cuda": has_cuda, "mps": has_mps, "cpu": True}
    if wanted != "auto":
        if not present[wanted]:
            raise InvalidRequest("device", wanted, "a device that this machine has")
        return wanted, "as configured"
    if has_cuda:
        return "cuda", torch.cuda.get_device_name()
    if has_mps:
        return "mps", "Apple GPU"
    return "cpu", "no GPU that torch can use"


def _computes(device: str) -> bool:
    """Return whether this torch has kernels for a device; one that is too old is listed as well."""
    import torch

    try:
        ones = torch.ones(8, 8, device=device)
        return bool((ones @ ones).sum().item() == 8**3)
    except (RuntimeError, AssertionError):  # AssertionError: a torch without any
        return False


def _dtype(device: str) -> tuple[str, str]:
    import torch

    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "the GPU computes it natively"
        return "float16", "the GPU has no bfloat16"
    if device == "mps":
        return "float32", "the only format we trust there"
    if cpu_flags() & {"avx512_bf16", "amx_bf16"} and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "bfloat16", "the CPU has instructions for it"
    return "float32", "the CPU has no instructions for bfloat16"


def name_of(device: str) -> str:
    """Return what the bits of a picture depend on: the GPU's name or the CPU's instructions."""
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    if device == "mps":
        return f"mps {platform.machine()}"
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets that Linux reports; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()


def physical_cores() -> int:
    """Return how many physical cores this process may keep busy.

    Hyper-threads of one core share its arithmetic units, so they count once. Where the kernel
    does not say which belong together, all count. A container's share of the processor counts
    too: it leaves all cores in sight and stops whoever uses more than its share.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})
    quota = cpu_quota()
    return max(1, cores if quota is None else min(cores, math.floor(quota)))


def _siblings(cpu: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many cores' time this process's control groups allow; None without a limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (`cpu.max`) and
    Documentation/scheduler/sched-bwc.rst (`cpu.cfs_quota_us`).

    Args:
        root: Where `proc` and `sys` are; another one for tests.
    """
    return min(filter(None, map(_cores_of, _control_groups("cpu", root))), default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return how many bytes this process's control groups allow; None without a limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (`memory.max`) and
    Documentation/admin-guide/cgroup-v1/memory.rst (`memory.limit_in_bytes`).

    Args:
        root: Where `proc` and `sys` are; another one for tests.
    """
    limits = []
    for group in _control_groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # `max` is no number
                limits.append(int((group / name).read_text(encoding="ascii")))
    return min(limits, default=None)


def _control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups and of all above them.

    A group is held by the limits of all above it. In a container its own group often is what lies
    at the root, whatever it is called outside.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for mount in (controller, controllers) if controllers else ("", "unified"):
            top = root / "sys/fs/cgroup" / mount
            own = top / name.strip("/")
            yield from (each for each in (own, *own.parents) if each.is_relative_to(top))


def _cores_of(group: Path) -> float | None:
    """Return the cores' time that one control group allows."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
        return float(quota) / float(period) if quota not in {"max", "-1"} else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


@contextlib.contextmanager
def out_of_memory_told() -> Iterator[None]:
    """Tell torch's lack of memory in our own words."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory("the device has no room for pictures of this size") from error


def memory_bytes(device: str) -> int:
    """Return what loaded checkpoints may take together: the rest is for drawing and for others."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_properties(0).total_memory * 4 // 5
    whole_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(whole_bytes, memory_limit() or whole_bytes) // 2


def memory_bytes_of(modules: Iterable[object]) -> int:
    """Return what the weights of those that are torch modules take; one held twice counts once."""
    import torch

    tensors = {
        tensor.data_ptr(): tensor.nbytes
        for module in modules
        if isinstance(module, torch.nn.Module)
        for tensor in (*module.parameters(), *module.buffers())
    }
    return sum(tensors.values())


def free_memory() -> None:
    """Give back what nothing refers to any more; call it where no exception is being handled.

    An exception's frames hold tensors. Does not load torch.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
