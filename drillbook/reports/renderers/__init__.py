"""One renderer a file: adding a format is adding a file here.

Each module says ``FILENAME`` and has ``render(facts) -> str | None``; None says that this run has nothing for it.
"""

from __future__ import annotations
