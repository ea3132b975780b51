"""From what was heard, and how the wire ended, to what the user got. Pure, and the only place that decides it.

A 200 is not an ``ok``. vLLM 0.32 was measured to report a dead engine inside a 200, as an error event followed by
``[DONE]`` with no finish reason, and to refuse a *streaming* request over the queue limit as a 200 with an error event
of code 503.
"""

from __future__ import annotations

import enum

from drillbook.load.heard import Heard
from drillbook.model.request import Outcome

SHED_CODES = frozenset({429, 503})
CUT_REASONS = frozenset({"abort", "error"})
"""Finish reasons that vLLM gives to answers that it gave up."""
SILENT_REASONS = frozenset({"content_filter", "tool_calls", "function_call"})
"""Finish reasons with which an answer without text is whole."""


class Ending(enum.StrEnum):
    """How the exchange ended on the wire."""

    CLOSED = "closed"
    """The answer's body came to its proper end."""
    BROKEN = "broken"
    """Refused, reset, cut, or not HTTP."""
    STALLED = "stalled"
    """Nothing moved for the stall time-out."""
    OVERDUE = "overdue"
    """Things moved, but the total time-out passed."""
    ABANDONED = "abandoned"
    """We gave it up, because the run ended."""


def judge(heard: Heard, ending: Ending, trouble: str = "") -> tuple[Outcome, str]:
    """The outcome and, unless it is ``ok``, one line that says why. ``trouble`` is the transport's own account.

    An error that the server told counts before how the wire ended: it came first, and it says more.
    """
    begun = bool(heard.text) or heard.tools
    broken = Outcome.TRUNCATED if begun else Outcome.FAILED
    if heard.status is not None and not 200 <= heard.status < 300:
        outcome = Outcome.SHED if heard.status in SHED_CODES else Outcome.FAILED
        return outcome, heard.error or trouble or f"HTTP {heard.status}"
    if heard.error is not None:
        return (Outcome.SHED if heard.code in SHED_CODES and not begun else broken), heard.error
    if heard.done:
        return _whole(heard, broken)
    match ending:
        case Ending.ABANDONED:
            return Outcome.UNKNOWN, trouble or "given up: the run ended"
        case Ending.STALLED:
            return Outcome.HUNG, trouble
        case Ending.OVERDUE:
            return (Outcome.TRUNCATED if begun else Outcome.HUNG), trouble
        case Ending.BROKEN:
            return broken, trouble
        case Ending.CLOSED:
            return broken, "the stream ended without [DONE]"


def _whole(heard: Heard, broken: Outcome) -> tuple[Outcome, str]:
    """The answer came to its end: is it one?"""
    if heard.finish_reason is None:
        return broken, "the answer ended without a finish reason"
    if heard.finish_reason in CUT_REASONS:
        return broken, f"the server gave the answer up (finish reason {heard.finish_reason})"
    silent = not (heard.text or heard.tools or heard.completion_tokens or heard.finish_reason in SILENT_REASONS)
    if silent:  # tokens may be invisible (half a character); no tokens at all is no answer
        return Outcome.FAILED, f"the answer is empty (finish reason {heard.finish_reason})"
    return Outcome.OK, ""
