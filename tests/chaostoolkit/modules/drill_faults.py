"""A fault that anyone can see: a file that is there while the fault is. And probes that answer in every wrong way."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

FOLDER = Path(os.environ.get("DRILL_FOLDER", "."))
FAULT = FOLDER / "fault"
SLEEPS = FOLDER / "sleeps"


def break_it() -> str:
    (FOLDER / "happened").write_text("for good")
    FAULT.write_text("broken")
    return "broken"


def mend() -> str:
    FAULT.unlink(missing_ok=True)
    return "mended"


def sleep(seconds: float) -> None:
    SLEEPS.write_text("")
    time.sleep(seconds)


def works() -> bool:
    return not FAULT.exists()


def always(value: object = True) -> object:
    return value


def refused() -> None:
    raise PermissionError("403: the target said no")


def down_when_broken() -> bool:
    if FAULT.exists():
        raise ConnectionError("the service is down")
    return True


def when_broken(kind: str) -> object:
    """A number while all is well; nothing that a range could be asked of once it is not."""
    wrong = {"none": None, "nan": float("nan"), "dict": {"value": 1}, "list": []}
    return wrong[kind] if FAULT.exists() else 1


def none_once() -> object:
    """Nothing the first time that it is asked after the fault, then a number again."""
    asked = FOLDER / "asked"
    if FAULT.exists() and not asked.exists():
        asked.write_text("")
        return None
    return 1


async def break_it_async() -> str:
    await asyncio.sleep(0)
    return break_it()


def unspeakable() -> object:
    """What JSON cannot write."""
    return {"thing": object(), "when": complex(1, 2)}
