"""Why an activity failed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class ActivityError(Exception):
    """An activity that did not do what it was for."""

    message: str
    unanswered: bool = False
    """The service itself did not answer: that is an observation of the target, and not a broken probe."""
    unfinished: bool = False
    """It may still be at work: nothing that it does from now on is known or undone."""

    def __str__(self) -> str:
        return self.message
