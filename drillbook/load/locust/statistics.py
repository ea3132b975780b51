"""Locust's own statistics, fed from our records, so that the two cannot disagree."""

from __future__ import annotations

from typing import Any

from drillbook.load.exchange import Exchange
from drillbook.model.request import Outcome


class NotOkError(Exception):
    """How Locust is told of an answer that is none."""


def count(hook: Any, exchange: Exchange) -> None:
    """Fire Locust's request event for what has ended: the response time is from the sending to the end."""
    record = exchange.record()
    hook.fire(
        request_type="POST",
        name=exchange.order.url.path,
        response_time=(record.end - record.sent) * 1e3,
        response_length=sum(len(text) for text in exchange.heard.text),
        exception=None if record.outcome is Outcome.OK else NotOkError(f"{record.outcome.value}: {record.error}"),
        context={},
    )


def told(stats: Any) -> str:
    """What Locust counted, in a sentence."""
    total = stats.total
    return f"Locust counted {total.num_requests} requests, {total.num_failures} of them failures"
