"""Write large arrays to disk piece by piece."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt


class Writer:
    """A `.npy` file of uint8 that is written from front to back.

    Written and not memory-mapped: on a full disk a mapped page kills the process, a write says so.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = path.open("wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Append some of the array, in C order."""
        self._file.write(pixels.tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
