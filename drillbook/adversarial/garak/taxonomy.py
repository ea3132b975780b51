"""garak's tags in today's terms: its ``owasp:llm06`` is of the edition of 2023, and it knows no ATLAS."""

from __future__ import annotations

from collections.abc import Iterable

_OWASP = {
    "llm01": "LLM01:2025",
    "llm02": "LLM05:2025",
    "llm03": "LLM04:2025",
    "llm04": "LLM10:2025",
    "llm05": "LLM03:2025",
    "llm06": "LLM02:2025",
    "llm08": "LLM06:2025",
    "llm09": "LLM09:2025",
}
"""Edition 2023 to 2025; model theft (llm10) has no successor."""

_ATLAS = {
    "ansiescape": ("AML.T0067",),
    "apikey": ("AML.T0057",),
    "badchars": ("AML.T0068",),
    "dan": ("AML.T0054",),
    "divergence": ("AML.T0057",),
    "dra": ("AML.T0054", "AML.T0068"),
    "encoding": ("AML.T0051.000", "AML.T0068"),
    "fitd": ("AML.T0054",),
    "goat": ("AML.T0054",),
    "grandma": ("AML.T0054",),
    "latentinjection": ("AML.T0051.001",),
    "leakreplay": ("AML.T0057",),
    "packagehallucination": ("AML.T0062",),
    "phrasing": ("AML.T0054",),
    "promptinject": ("AML.T0051.000",),
    "smuggling": ("AML.T0068",),
    "suffix": ("AML.T0054",),
    "sysprompt_extraction": ("AML.T0056",),
    "tap": ("AML.T0054",),
    "web_injection": ("AML.T0077",),
}
"""Techniques of MITRE ATLAS by garak's module; what is not here has none that fits."""


def owasp(tags: Iterable[str]) -> tuple[str, ...]:
    """The OWASP Top 10 for LLM applications 2025, from a probe's tags."""
    found = (_OWASP.get(tag.removeprefix("owasp:")) for tag in tags if tag.startswith("owasp:"))
    return tuple(sorted({name for name in found if name is not None}))


def atlas(probe: str) -> tuple[str, ...]:
    """Techniques of MITRE ATLAS, from a probe's name such as ``dan.DanInTheWild``."""
    return _ATLAS.get(probe.partition(".")[0], ())
