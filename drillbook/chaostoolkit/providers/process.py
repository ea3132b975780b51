"""Process activities: ``{status, stdout, stderr}``. Each runs in a session of its own, and all of it ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

from drillbook.chaostoolkit.providers.error import ActivityError
from drillbook.chaostoolkit.substitution import Variables

SECONDS = 600.0
"""How long a process may take whose activity does not say."""
_HARMLESS = re.compile(r"[\w./:@%+=,~-]*")


async def run(provider: dict[str, Any], variables: Variables) -> dict[str, Any]:
    """Run the program to its end.

    Raises:
        ActivityError: there is no such program, or it took too long and was killed.

    """
    program = find(str(provider["path"]))
    if program is None:
        raise ActivityError(f"there is no program {provider['path']!r}")
    command = _command(program, provider.get("arguments") or [], variables)
    said = variables.fill(provider.get("timeout"))
    seconds = SECONDS if said is None else float(said)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-1, start_new_session=True
    )
    try:
        async with asyncio.timeout(seconds):
            out, errors = await process.communicate()
    except BaseException as error:  # a cancellation too
        # Only what did not end by itself is killed: a fault may be a process that the program left behind on purpose.
        _kill(process.pid)
        await process.wait()
        if isinstance(error, TimeoutError):
            raise ActivityError(f"{provider['path']} took longer than {seconds:g} s and was killed") from error
        raise
    status = process.returncode
    return {"status": status, "stdout": out.decode("utf-8", "replace"), "stderr": errors.decode("utf-8", "replace")}


def find(path: str) -> str | None:
    """The program that a path or a name means."""
    return shutil.which(str(Path(path).expanduser()) if path.startswith("~") else path)


def _command(program: str, arguments: Any, variables: Variables) -> list[str]:
    if not isinstance(arguments, str):
        filled = variables.fill(arguments)
        flat = itertools.chain.from_iterable(filled.items()) if isinstance(filled, dict) else filled
        return [program, *(str(each) for each in flat if each not in (None, ""))]
    filled = str(variables.fill(arguments))
    if filled != arguments:
        _refuse_injection(arguments, variables)
    # A text is a line for the shell in Chaos Toolkit, with its pipes and quotes; the whole file was vouched for.
    return ["/bin/sh", "-c", f"{program} {filled}"]


def _refuse_injection(arguments: str, variables: Variables) -> None:
    """A value that comes from outside the trusted file must not become shell code.

    Raises:
        ActivityError: it would.

    """
    for name in re.findall(r"\$\{?([A-Za-z_]\w*)", arguments):
        value = str(variables.fill(f"${{{name}}}"))
        if value != f"${{{name}}}" and not _HARMLESS.fullmatch(value):
            raise ActivityError(
                f"the value of ${{{name}}} has characters that a shell would act upon: write 'arguments' as a list"
            )


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
