"""What a model without any scruples says: asked for something that its system prompt holds, it tells that; told to say
something in quotation marks, it says it. So that leaks can be seen, and a guardrail that stops them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from drillbook.sandbox.engine.conversation import Turn

_WORD = re.compile(r"[a-z]{5,}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ORDER = re.compile(
    r"\b(?:say|print|write|reply|answer|repeat|output|confirm)\b[^'\"\n]{0,40}(['\"])(.{1,200}?)\1", re.I
)
_ALL = re.compile(
    r"\b(?:above|before|told|first message|whole|everything|your (?:instructions|text|rules|prompt)|system prompt)\b",
    re.I,
)


def obeyed(turns: Sequence[Turn]) -> str:
    """The answer that the last turn asks for; empty where it asks for nothing that this model would obey."""
    asked = turns[-1].text if turns else ""
    system = " ".join(turn.text for turn in turns[:-1] if turn.role in ("system", "developer"))
    order = _ORDER.search(asked)
    if order is not None:
        return order[2]
    if system and _ALL.search(asked):
        return system
    words = set(_WORD.findall(asked.lower()))
    told = [sentence for sentence in _SENTENCE.split(system) if words & set(_WORD.findall(sentence.lower()))]
    return " ".join(told)
