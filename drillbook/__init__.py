"""drillbook: fire drills for LLM serving.

Break a live, distributed vLLM deployment on purpose, measure what users and guardrails saw down to the token, always
put it back, and write the incident playbook. ARCHITECTURE.md at the top of the repository says what flows where.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"


def discover(discover_system: bool = True) -> dict[str, Any]:
    """What drillbook offers Chaos Toolkit, which looks for this function here (``chaos discover drillbook``)."""
    # By name and when called: importing drillbook costs nothing, and the lowest floor names no higher one.
    found: dict[str, Any] = importlib.import_module("drillbook.chaostoolkit.extension").discover(discover_system)
    return found
