"""Recognise a disk without room, whoever tried to write."""

import errno

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: BaseException) -> bool:
    """Say whether writing failed for want of room; safetensors hides the number in its message."""
    said = str(error).lower()
    hidden = any(f"os error {number})" in said for number in NO_ROOM)
    return getattr(error, "errno", None) in NO_ROOM or hidden
