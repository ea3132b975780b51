"""Experiment files for tests: a good one, and the same with some of its parts replaced."""

from __future__ import annotations

from pathlib import Path

PARTS = {
    "title": "title: A test",
    "target": "target: {stack: production-stack, namespace: llm}",
    "load": "load: {rate: 6/s, prompts: chat}",
    "steady-state": "steady-state: [goodput >= 95%]",
    "method": "method:\n  - {fault: pod-kill, count: 1}",
    "expect": "expect: [recovered within 90s of inject]",
}


def text(**parts: str) -> str:
    """``steady_state=`` replaces that part, ``more=`` adds lines; an empty part leaves it out."""
    given = {name.replace("_", "-"): part for name, part in parts.items()}
    return "\n".join(part for part in (PARTS | given).values() if part) + "\n"


def write(folder: Path, **parts: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text(**parts), encoding="utf-8")
    return path
