"""Lines of a journal as they are read back, a million requests in seconds.

Nearly all of such a journal are the times of tokens, and few readers ask for more than the first of them. They stay as
they are written until somebody asks; that they are times, and nothing else, is seen at once.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Union, get_args

import msgspec

from drillbook.model.events import AnyEvent, Line
from drillbook.model.request import RequestRecord

_TIME = b"0123456789,"
LONGEST = 300
"""Digits of a number from which it may be more than a float holds."""
_decode_times = msgspec.json.Decoder(tuple[int, ...]).decode


class StoredRequest(RequestRecord, frozen=True, kw_only=True, tag="request", gc=False):
    """A request whose token times are read when they are asked for."""

    tokens: msgspec.Raw  # type: ignore[assignment]  # replaced below by what the base class promises

    @property
    def chunks(self) -> int:
        written = self.written
        return written.count(b",") + 1 if len(written) > 2 else 0

    @property
    def first(self) -> int | None:
        written = self.written
        return int(written[1 : written.find(b",")]) if len(written) > 2 else None

    @property
    def last(self) -> int | None:
        written = self.written
        return int(written[max(written.rfind(b","), 0) + 1 : -1]) if len(written) > 2 else None

    @property
    def ttft(self) -> float | None:
        written = bytes(_raw(self))  # what ``first`` does, at half its cost: every reader asks every request
        return self.sent + int(written[1 : written.find(b",")]) / 1e6 - self.scheduled if len(written) > 2 else None

    @property
    def gaps(self) -> Iterator[int]:
        tokens = _decode_times(bytes(_raw(self)))  # as the base class does, without its way to the tokens
        return map(operator.sub, tokens[1:], tokens)

    @property
    def written(self) -> bytes:
        """The token times as JSON without blanks."""
        return bytes(_raw(self))

    def is_sound(self) -> bool:
        """Whether the token times are a list of numbers that can be reckoned with."""
        written = bytes(_raw(self))
        if written.translate(None, _TIME) != b"[]":
            return False
        # a number of so many digits has no room beside the others in a list of the usual length
        room = LONGEST + 2 * written.count(b",") if len(written) >= LONGEST else LONGEST
        return len(written) < room or max(map(len, written.split(b","))) < LONGEST


_raw = StoredRequest.tokens.__get__  # type: ignore[attr-defined]  # the slot that msgspec fills, by its position
StoredRequest.tokens = property(lambda self: _decode_times(self.written))  # type: ignore[assignment]


_events = tuple(StoredRequest if kind is RequestRecord else kind for kind in get_args(AnyEvent))
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(
    msgspec.defstruct("StoredLine", [("event", Union[_events])], bases=(Line,), frozen=True, kw_only=True, gc=False)  # noqa: UP007 - of a tuple
)


def decode(row: bytes) -> Line:
    """One line.

    Raises:
        msgspec.DecodeError: it is none.
        UnicodeDecodeError, RecursionError: neither.

    """
    line = _decoder.decode(row)
    if not _is_sound(line):
        raise msgspec.ValidationError("token times must be whole numbers - at `$.event.tokens`")
    return line


def decode_all(rows: bytes | memoryview) -> Sequence[Line]:
    """All lines of these rows, as ``decode`` does them; one that is none spoils all."""
    lines = _decoder.decode_lines(rows)
    if not all(map(StoredRequest.is_sound, requests(lines))):
        raise msgspec.ValidationError("token times must be whole numbers")
    return lines


def requests(lines: Sequence[Line]) -> list[StoredRequest]:
    """Those lines' events that are requests."""
    return [event for line in lines if isinstance(event := line.event, StoredRequest)]


def _is_sound(line: Line) -> bool:
    return not isinstance(line.event, StoredRequest) or line.event.is_sound()
