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
_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
LONGEST = 300
"""Digits of a number from which it may be more than a float holds."""
_TOO_LONG = b"0" * LONGEST
_keep = msgspec.structs.force_setattr
_decode_times = msgspec.json.Decoder(tuple[int, ...]).decode


class StoredRequest(RequestRecord, frozen=True, kw_only=True, tag="request", gc=False):
    """A request whose token times are read when they are asked for."""

    tokens: msgspec.Raw  # type: ignore[assignment]  # replaced below by what the base class promises
    ttft: float | None = None  # every reader asks every request: told while the row is at hand

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
    def gaps(self) -> Iterator[int]:
        tokens = _decode_times(bytes(_raw(self)))  # as the base class does, without its way to the tokens
        return map(operator.sub, tokens[1:], tokens)

    @property
    def written(self) -> bytes:
        """The token times as JSON without blanks."""
        return bytes(_raw(self))


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
    _settle(requests([line]))
    return line


def decode_all(rows: bytes | memoryview) -> tuple[Sequence[Line], Sequence[StoredRequest]]:
    """All lines of these rows, as ``decode`` does them, and the requests among them; one that is none spoils all."""
    lines = _decoder.decode_lines(rows)
    found = requests(lines)
    _settle(found)
    return lines, found


def _settle(found: Sequence[StoredRequest]) -> None:
    """Sees that token times are lists of numbers that can be reckoned with, all in one, and reckons the first of each.

    Each is a JSON value of its own: what leaves one pair of brackets without its digits and commas is a flat list.
    """
    written = [bytes(_raw(one)) for one in found]
    together = b"".join(written)
    if together.translate(None, _TIME) != b"[]" * len(written) or _TOO_LONG in together.translate(_ZEROS):
        raise msgspec.ValidationError("token times must be whole numbers - at `$.event.tokens`")
    for one, times in zip(found, written, strict=True):
        first = int(times[1 : times.find(b",")]) / 1e6 if len(times) > 2 else None
        _keep(one, "ttft", None if first is None else one.sent + first - one.scheduled)


def requests(lines: Sequence[Line]) -> list[StoredRequest]:
    """Those lines' events that are requests."""
    return [event for line in lines if isinstance(event := line.event, StoredRequest)]
