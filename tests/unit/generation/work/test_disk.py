"""A full disk is recognised whoever says so, and nothing else is taken for one."""

import errno
import os

import pytest
from safetensors import SafetensorError

from generation.work import disk


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), True),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), True),
        (SafetensorError(f"I/O error: No space left on device (os error {errno.ENOSPC})"), True),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), False),
        (SafetensorError("I/O error: Permission denied (os error 13)"), False),
    ],
)
def test_full_disk_is_told_from_other_failures(error: Exception, is_full: bool) -> None:
    assert disk.is_full(error) == is_full
