"""Python's collector of cyclic garbage, and when to leave it alone."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Nothing is collected meanwhile: where a million values come to stay that hold no cycles, the collector walks
    over all of them again and again, and takes up to half of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
