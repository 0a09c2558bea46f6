"""`make test-isa`: the tests that draw, once under each instruction set that this processor has.

A picture's bits depend on the instructions that computed it, a law of ours on none of them. So the
libraries are told to behave as on a smaller processor: oneDNN, ATen, MKL and numpy each have a
variable for that. Two laws are told apart: the *same computation* gives equal bits everywhere, the
*same picture* by other kernels lies within a distance.

The last run has all instructions and one core, whatever the machine has. `ARGS="AVX2 one-core"`
chooses runs, everything else in it goes to pytest. Nothing of this is needed on arm64, where
the libraries have one level; the tests run there as they are.
"""

import dataclasses
import os
import platform
import subprocess
import sys
import time

from generation.techniques.device import cpu_flags

DRAWING = (
    "tests/unit/generation",
    "tests/integration/test_worker.py",
    "tests/integration/test_shipped.py",
    "tests/acceptance/test_command_line.py",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """An instruction set and how each library is held to it.

    Args:
        name: As people call it.
        needs: Flags that a processor with it reports, as Linux spells them.
        onednn: `ONEDNN_MAX_CPU_ISA`.
        aten: `ATEN_CPU_CAPABILITY`.
        mkl: `MKL_ENABLE_INSTRUCTIONS`.
        numpy: Features that are switched off, those among them that this numpy knows.
        cores: How many may be used; 0 for all.
    """

    name: str
    needs: frozenset[str]
    onednn: str
    aten: str
    mkl: str
    numpy: frozenset[str] = frozenset()
    cores: int = 0

    def environment(self) -> dict[str, str]:
        """Return the variables of a process that behaves like this."""
        off = sorted(self.numpy & _numpy_features())
        return {
            "ONEDNN_MAX_CPU_ISA": self.onednn,
            "ATEN_CPU_CAPABILITY": self.aten,
            "MKL_ENABLE_INSTRUCTIONS": self.mkl,
            **({"NPY_DISABLE_CPU_FEATURES": " ".join(off)} if off else {}),
        }


AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
WIDE = frozenset({"X86_V4", "AVX512F", "AVX512CD", "AVX512_SKX", "AVX512_ICL", "AVX512_SPR"})
LEVELS = (
    Level("SSE4.1", frozenset({"sse4_1"}), "SSE41", "default", "SSE4_2",
          WIDE | {"X86_V3", "AVX2", "FMA3"}),
    Level("AVX2", frozenset({"avx2"}), "AVX2", "avx2", "AVX2", WIDE),
    Level("AVX512_CORE", AVX512, "AVX512_CORE", "avx512", "AVX512"),
    Level("AVX512_CORE_BF16", AVX512 | {"avx512_bf16"}, "AVX512_CORE_BF16", "avx512", "AVX512"),
    Level("AMX", AVX512 | {"amx_bf16", "amx_tile"}, "AVX512_CORE_AMX", "avx512", "AVX512"),
    Level("one-core", frozenset(), "ALL", "", "", cores=1),
)  # fmt: skip


def _numpy_features() -> frozenset[str]:
    """Return what this numpy can be told to do without."""
    # Private, and the only place: naming another feature in the variable is an error to numpy.
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return frozenset(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


def main(arguments: list[str]) -> int:
    """Run pytest once a level, and return 1 if any failed.

    Args:
        arguments: Names of levels, all if there are none; the others go to pytest.
    """
    chosen = [level for level in LEVELS if level.name in arguments] or LEVELS
    arguments = [each for each in arguments if each not in {level.name for level in LEVELS}]
    flags = cpu_flags()
    if platform.machine() not in {"x86_64", "AMD64"}:
        return subprocess.run(_command(arguments), check=False).returncode
    said, is_bad = [], False
    for level in chosen:
        if missing := sorted(level.needs - flags):
            said.append(f"{level.name}: not here, this processor has no {', '.join(missing)}")
            continue
        variables = {name: value for name, value in level.environment().items() if value}
        print(f"--- {level.name}: {variables}", flush=True)  # noqa: T201
        started_s = time.monotonic()
        done = subprocess.run(
            _command(arguments, level.cores),
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            check=False,
        )
        verdict = "passed" if done.returncode == 0 else "FAILED"
        said.append(f"{level.name}: {verdict} in {time.monotonic() - started_s:.0f} s")
        is_bad |= done.returncode != 0
    print("\n".join(["---", *said]))  # noqa: T201
    return int(is_bad)


def _command(arguments: list[str], cores: int = 0) -> list[str]:
    given = arguments or list(DRAWING)
    if all(each.startswith("-") for each in given):
        given = [*given, *DRAWING]
    spread = [] if cores else ["--numprocesses", "auto", "--dist", "loadfile"]
    python = [sys.executable, "-m", "pytest", "--quiet", *spread, *given]
    if not cores or not hasattr(os, "sched_getaffinity"):
        return python
    code = (
        "import os, sys; "
        f"os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{cores}]); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", code, *python]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
