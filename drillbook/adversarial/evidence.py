"""What one answer told, laid out for the classifier: the words that reached the user, and what was said beside them.

No I/O and no judgement. Of a stream only those events are read a second time that say more than a piece of text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from drillbook.load.exchange import Answer
from drillbook.load.heard import one_line
from drillbook.model.request import Outcome, RequestRecord

_ORDINARY = ('"error"', '"warnings"', '"detections"', '"guardrails"', '"content_filter_results"', '"blocked"')
"""An event of a stream that has none of these is a piece of text."""


@dataclass(frozen=True)
class Evidence:
    """One answer. ``headers`` have their names in lower case."""

    record: RequestRecord
    text: str
    headers: dict[str, str] = field(default_factory=dict)
    payloads: tuple[dict[str, Any], ...] = ()
    """JSON objects of the body, or of those events of the stream that carry more than text."""
    raw: str = ""
    """Everything else that was delivered: the whole body of an answer that is no stream, or all events."""
    streamed: bool = False

    @classmethod
    def of(cls, answer: Answer) -> Evidence:
        if answer.events:
            datas = [event.data for event in answer.events]
            telling = [data for data in datas if any(word in data for word in _ORDINARY)]
            return cls(answer.record, answer.text, answer.headers, tuple(_objects(telling)), "\n".join(datas), True)
        raw = answer.body.decode("utf-8", "replace")
        return cls(answer.record, answer.text, answer.headers, tuple(_objects([raw])), raw)

    @property
    def status(self) -> int | None:
        return self.record.status

    @cached_property
    def words(self) -> str:
        """The text as it compares: one line, without the space around it, its apostrophes straight."""
        return " ".join(self.text.replace("\u2019", "'").split())

    @property
    def cut_off(self) -> bool:
        """Whether words came and the answer's proper end did not."""
        return bool(self.text.strip()) and self.record.outcome in (Outcome.TRUNCATED, Outcome.HUNG)

    @cached_property
    def errors(self) -> tuple[dict[str, Any], ...]:
        """Every error that was told, as ``{"message", "code", "type"}`` where the server said so."""
        return tuple(_errors(self.payloads))

    @cached_property
    def said(self) -> str:
        """All error messages in one line, and the body of an error that is no JSON."""
        told = [str(error.get("message") or error) for error in self.errors]
        if not told and self.status is not None and self.status >= 400:
            told = [self.raw]
        return one_line(" | ".join(told))

    def values(self, path: list[str]) -> Iterator[Any]:
        """What stands at a place such as ``warnings``, ``type``, or ``choices``, ``content_filter_results``, ``error``.

        A list on the way is entered at each of its items.
        """
        for payload in self.payloads:
            yield from _walk(payload, path)


def _objects(texts: list[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _errors(payloads: tuple[dict[str, Any], ...]) -> Iterator[dict[str, Any]]:
    for payload in payloads:
        error = payload.get("error")
        if isinstance(error, dict):
            yield {**error, **_inner(error)}
        elif error:
            yield {"message": str(error), "code": payload.get("code")}
        elif payload.get("object") == "error" or not payload.get("choices"):
            listed = payload.get("errors")
            first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else payload
            message = next((first[key] for key in ("message", "detail", "details") if first.get(key)), None)
            if message is not None or first.get("code") is not None:
                yield {**first, "message": str(message or first)}


def _inner(error: dict[str, Any]) -> dict[str, Any]:
    inner = error.get("innererror")
    return {"inner": inner.get("code")} if isinstance(inner, dict) else {}


def _walk(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _walk(value[path[0]], path[1:])
