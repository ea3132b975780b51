"""The figures of a drill that ``docs/side-by-side.md`` sets beside those of other targets, read off its reports.

As a program: ``python tests/support/drill_figures.py RUN_FOLDER …`` prints them as a table.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def of(folder: Path) -> Json:
    """The figures of one run folder; times are seconds after the injection."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    moments = {each["name"]: each["at"] for each in report["clocks"]["moments"]}
    begun = moments["inject"] or 0.0
    headline = {each["name"]: each["value"] for each in report["headline"]}
    slis = {each["stretch"]["name"]: each for each in report["slis"]}
    outcomes = report["harm"]["outcomes"]
    return {
        "drill": folder.parent.name,
        "target": report["header"]["target"],
        "verdict": report["header"]["verdict"],
        "undo": report["header"]["undo"],
        "bites": [each["bite"] for each in report["faults"]],
        "effect": _after(moments["effect"], begun),
        "detect": _after(moments["detect"], begun),
        "users back": _after(moments["mitigate"], begun),
        "capacity back": _after(moments["recover"], begun),
        "green while broken": headline.get("Green while broken", ""),
        "harmed": f"{report['harm']['bad']} of {report['harm']['total']}",
        "outcomes": {name: count for name, count in outcomes.items() if count},
        "ttft p50": {name: each["ttft"]["p50"] if each["ttft"] else None for name, each in slis.items()},
        "ttft p95": {name: each["ttft"]["p95"] if each["ttft"] else None for name, each in slis.items()},
        "goodput": {name: each["goodput"] for name, each in slis.items()},
    }


def _after(moment: float | None, begun: float) -> float | None:
    return None if moment is None else round(moment - begun, 2)


class Figures:
    """Collects those of one session."""

    def __init__(self, label: str) -> None:
        self._label, self._rows = label, []

    def add(self, folder: Path) -> Json:
        row = {"label": self._label, **of(folder)}
        self._rows.append(row)
        return row

    def write(self) -> None:
        place = os.environ.get("DRILLBOOK_FIGURES")
        if place and self._rows:
            with Path(place).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in self._rows)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        sys.stdout.write(json.dumps(of(Path(given).resolve()), indent=1) + "\n")
