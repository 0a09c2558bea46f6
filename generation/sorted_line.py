"""A sorted collection that stays quick when it is long: a list of short sorted lists.

A plain list moves every later item when one is inserted; with a hundred thousand members waiting
that costs more than choosing the next one. Source: the idea of `sortedcontainers.SortedList`.
"""

import bisect
from collections.abc import Iterator
from typing import Generic, TypeVar

MAX_CHUNK = 512

Key = TypeVar("Key", bound=tuple[float, int, int])


class SortedLine(Generic[Key]):
    """Distinct tuples in ascending order; adding and removing take O(sqrt n) at worst."""

    def __init__(self) -> None:
        self._chunks: list[list[Key]] = []
        self._lasts: list[Key] = []  # the last item of each chunk

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def __iter__(self) -> Iterator[Key]:
        for chunk in self._chunks:
            yield from chunk

    def add(self, key: Key) -> None:
        """Put `key` in its place; it must not be there yet."""
        if not self._chunks:
            self._chunks.append([key])
            self._lasts.append(key)
            return
        index = min(bisect.bisect_left(self._lasts, key), len(self._chunks) - 1)
        chunk = self._chunks[index]
        bisect.insort(chunk, key)
        self._lasts[index] = chunk[-1]
        if len(chunk) > MAX_CHUNK:
            half = MAX_CHUNK // 2
            self._chunks[index : index + 1] = [chunk[:half], chunk[half:]]
            self._lasts.insert(index, chunk[half - 1])

    def remove(self, key: Key) -> None:
        """Take `key` out; it must be there."""
        index = bisect.bisect_left(self._lasts, key)
        chunk = self._chunks[index]
        place = bisect.bisect_left(chunk, key)
        if chunk[place] != key:
            raise KeyError(key)
        del chunk[place]
        if chunk:
            self._lasts[index] = chunk[-1]
        else:
            del self._chunks[index], self._lasts[index]
