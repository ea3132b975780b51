"""Log lines in vLLM's form, written to standard output by each process of the engine."""

from __future__ import annotations

import os
import sys
import time

_process = "APIServer"


def name_process(name: str) -> None:
    """What this process is called in its log lines from now on."""
    global _process
    _process = name


def line(level: str, source: str, text: str) -> None:
    """One line as vLLM's logger writes it. ``source`` is where in vLLM such a line comes from (``core.py``)."""
    stamp = time.strftime("%m-%d %H:%M:%S")
    write(f"({_process} pid={os.getpid()}) {level} {stamp} [{source}] {text}")


def info(source: str, text: str) -> None:
    line("INFO", source, text)


def warning(source: str, text: str) -> None:
    line("WARNING", source, text)


def error(source: str, text: str) -> None:
    line("ERROR", source, text)


def uvicorn(text: str) -> None:
    """One line as vLLM's HTTP server writes it."""
    write(f"INFO:     {text}")


def write(text: str) -> None:
    try:
        os.write(sys.stdout.fileno(), text.encode() + b"\n")
    except (OSError, ValueError):
        # Whoever read the log has gone; a server outlives its reader.
        return
