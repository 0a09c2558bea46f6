"""What a process that opens strangers' files may no longer do.

A hole in a decoder runs code as the bot's own user. Three layers keep that code in its box, each
enough for most of it, so that a kernel that lacks one still has the others:

- *limits* (POSIX): little memory and time, no growing file, few descriptors, no new process;
- *Landlock* (Linux 5.13): no file, folder, `/proc` entry, device or signal outside the process;
- *seccomp* (Linux 3.17, x86-64 and arm64): no system call but those that decoding takes. Whatever
  opens, connects, forks, executes or traces is not among them and fails with `EPERM`.

None can be undone by the process that took it. `hide_memory` is the other side: it closes what a
process that holds a secret shows to its own user's other processes.

Source: https://docs.kernel.org/userspace-api/landlock.html, seccomp(2), prctl(2).
"""

import ctypes
import errno
import os
import resource
import sys
from enum import StrEnum

if sys.platform == "linux":
    import landlockpy
    import seccompy

OPEN_FILES = 16
CPU_GRACE_S = 1  # after SIGXCPU, which names the cause; SIGKILL follows
NICENESS = 5  # a third of the share of one that draws, which is enough to end in time
PR_SET_DUMPABLE = 4  # linux/prctl.h
# What a decoder takes once everything is imported: memory, open descriptors, its own signals, time.
CALLS = (
    *("read", "readv", "write", "writev", "lseek", "fstat", "close"),
    *("brk", "mmap", "munmap", "mremap", "mprotect", "madvise"),
    *("futex", "sched_yield", "sched_getaffinity", "getcpu", "rseq", "set_robust_list"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("clock_gettime", "clock_getres", "gettimeofday", "getrandom", "getpid", "gettid"),
    *("exit", "exit_group"),
)


class Guard(StrEnum):
    """A layer that holds a process in its box."""

    LIMITS = "limits"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


def give_up_rights(*, memory_bytes: int, cpu_s: int) -> tuple[Guard, ...]:
    """Take from this process, for good, all that decoding does not need.

    To be called after the last import and from the only thread.

    Args:
        memory_bytes: Address space from now on.
        cpu_s: CPU seconds before SIGXCPU, counted from the start of the process.

    Returns:
        The guards that this kernel has.
    """
    # Asked first: the bindings start a program to find the C library, and none starts after this.
    has_landlock, has_seccomp = _has_landlock(), _has_seccomp()
    _limit(memory_bytes, cpu_s)
    if has_landlock:
        _close_files()
    if has_seccomp:
        _close_kernel()
    held = {Guard.LIMITS: True, Guard.LANDLOCK: has_landlock, Guard.SECCOMP: has_seccomp}
    return tuple(guard for guard, is_held in held.items() if is_held)


def hide_memory() -> bool:
    """Keep this process's environment and memory from other processes of the same user.

    Without it `/proc/PID/environ` shows a token to whatever the user starts. It also ends core
    dumps and debuggers that attach. Programs that this process starts are not hidden.

    Returns:
        Whether the kernel can (Linux only).
    """
    # One call that takes plain integers: the bindings of prctl have no release since 2022.
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)


def _limit(memory_bytes: int, cpu_s: int) -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + CPU_GRACE_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _has_landlock() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return landlockpy.supported()
    except landlockpy.LandlockError:  # a container's own filter refuses to say
        return False


def _has_seccomp() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return seccompy.supported() and bool(seccompy.arch())
    except seccompy.SeccompError:  # as above, or a processor whose calls it does not know
        return False


def _close_files() -> None:
    if sys.platform == "linux":
        scopes = landlockpy.Scope.SIGNAL | landlockpy.Scope.ABSTRACT_UNIX_SOCKET
        with landlockpy.Ruleset(scoped=scopes) as nothing_is_allowed:
            nothing_is_allowed.restrict()


def _close_kernel() -> None:
    if sys.platform == "linux":
        calls = seccompy.Filter(default=seccompy.Action.ERRNO | errno.EPERM)
        for name in CALLS:
            calls.allow(name)
        calls.load()
