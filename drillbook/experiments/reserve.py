"""Room on the disk that one file alone may use, so that a run's last lines can be written when the disk is full."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE: blocks are set aside behind the file's end, which stays where it is (fallocate(2))."""
_NOT_HERE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""A file system or kernel without it: there is no reserve then, and everything else goes on as it would."""


def reserve(file: int, start: int, length: int) -> None:
    """Set ``length`` bytes aside from ``start`` on, for later appends to this file and for nobody else.

    :raises OSError: there is not so much room.
    """
    if sys.platform != "linux":
        return
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if fallocate(file, _KEEP_SIZE, start, length) != 0:
        number = ctypes.get_errno()
        if number not in _NOT_HERE:
            raise OSError(number, os.strerror(number))
