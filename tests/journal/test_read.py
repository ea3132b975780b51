from __future__ import annotations

import random
from pathlib import Path

import histories
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drillbook import clock
from drillbook.errors import UsageError
from drillbook.experiments import journal, stored
from drillbook.model.events import AnyEvent, Line, LoadTicked, Noted, Observed, RunEnded
from drillbook.model.request import Outcome, RequestRecord
from drillbook.model.verdict import RunStatus, UndoState

words = st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
events = st.one_of(
    st.builds(Noted, actor=words, text=words),
    st.builds(Observed, probe=words, value=st.none() | numbers, labels=st.dictionaries(words, words, max_size=2)),
    st.builds(RunEnded, status=st.sampled_from(RunStatus), undo=st.sampled_from(UndoState), reason=words),
    st.builds(
        lambda at, tokens: histories.request("q", at, tokens=tuple(sorted(tokens)), took=1.0, outcome=Outcome.OK),
        st.floats(0, 1e6),
        st.lists(st.integers(0, 10**9), max_size=5),
    ),
)


def write(path: Path, events: list[AnyEvent], writer: str = "w", boot: str = "b", skip: int = 0) -> bytes:
    lines = [
        Line(writer=writer, seq=seq + skip, boot=boot, mono=float(seq), wall=1e9 + seq, event=event)
        for seq, event in enumerate(events)
    ]
    data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    path.write_bytes(data)
    return data


def answered(at: float, tokens: tuple[int, ...]) -> RequestRecord:
    return histories.request("q", at, tokens=tokens, took=1.0, outcome=Outcome.OK)


def ended() -> RunEnded:
    return RunEnded(status=RunStatus.COMPLETED, undo=UndoState.CLEAN)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(events, max_size=6), st.data())
def test_a_journal_cut_at_any_byte_gives_its_whole_lines_and_tells_the_rest(tmp_path, written, data):
    control = tmp_path / "journal.jsonl"
    whole = write(control, [*written, ended()])
    kept = data.draw(st.integers(0, len(whole)))
    control.write_bytes(whole[:kept])

    history = journal.read(tmp_path)

    complete = whole[:kept].count(b"\n")
    found = len(history.lines) + len(history.requests)
    assert found in (complete, complete + 1)  # a last line that lacks only its newline is whole
    if found <= len(written):
        assert any("no run-ended" in damage for damage in history.damage) or any(
            isinstance(event, RunEnded) for event in written[:found]
        )
    ends = {0, *(place + shift for place, byte in enumerate(whole) if byte == 10 for shift in (0, 1))}
    assert any("torn" in damage for damage in history.damage) is (kept not in ends)


def test_the_files_of_a_run_are_merged_in_the_order_of_time(tmp_path):
    write(tmp_path / "journal.jsonl", [Noted(actor="a", text="0"), ended()])
    write(tmp_path / "observations.jsonl", [Observed(probe="p", value=1.0)] * 2, "observer")
    tick = LoadTicked(sent=1, finished=1, in_flight=0, lag_p99=0, lag_max=0, oldest=0, tokens=0)
    late, early = (histories.request("q", at, tokens=(1,), took=1.0, outcome=Outcome.OK) for at in (5.0, 1.0))
    write(tmp_path / "requests-0.jsonl", [late, tick], "requests-0")
    write(tmp_path / "requests-1.jsonl", [early], "requests-1")

    history = journal.read(tmp_path)

    assert [line.mono for line in history.lines] == [0, 0, 1, 1, 1]
    assert [(one.scheduled, one.tokens, one.outcome) for one in history.requests] == [
        (one.scheduled, one.tokens, one.outcome) for one in (early, late)
    ]
    assert history.damage == ["journal.jsonl: no run-started: it is not known what was run"]


def test_lines_that_are_missing_are_counted(tmp_path):
    first, *_, last = write(tmp_path / "journal.jsonl", [Noted(actor="a", text="x")] * 4 + [ended()]).splitlines()
    (tmp_path / "journal.jsonl").write_bytes(first + b"\n" + last + b"\n")
    assert "journal.jsonl:2: 3 lines are missing" in journal.read(tmp_path).damage


def test_lines_of_another_boot_are_told_since_their_times_mean_nothing_here(tmp_path):
    write(tmp_path / "journal.jsonl", [ended()], boot="one")
    write(tmp_path / "observations.jsonl", [Observed(probe="p", value=1.0)], boot="two")
    assert any("observations.jsonl:1: written after a reboot" in damage for damage in journal.read(tmp_path).damage)


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"{}",
        b'{"writer":1}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"null",
        b'{"type":"no-such-event"}',
        b"\x00",
    ],
    ids=["words", "empty", "wrong type", "no UTF-8", "brackets", "null", "unknown event", "NUL"],
)
def test_a_line_that_is_none_is_told_with_its_place_and_costs_only_itself(tmp_path, line):
    good = write(tmp_path / "journal.jsonl", [ended()])
    (tmp_path / "journal.jsonl").write_bytes(line + b"\n" + good)
    history = journal.read(tmp_path)
    assert history.ended is not None
    assert any(damage.startswith("journal.jsonl:1: not a line of a journal") for damage in history.damage)


def test_a_folder_without_a_journal_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"no journal\.jsonl"):
        journal.read(tmp_path)


def test_a_hundred_thousand_requests_are_read_in_seconds(tmp_path):
    write(tmp_path / "journal.jsonl", [ended()])
    tokens = tuple(sorted(random.Random(1).sample(range(10**6), 24)))
    one = histories.request("q", 1.0, tokens=tokens, took=1.0, outcome=Outcome.OK)
    row = msgspec.json.encode(Line(writer="g", seq=0, boot="b", mono=0.0, wall=0.0, event=one))
    head, tail = row.split(b'"seq":0')
    rows = b"".join(head + b'"seq":%d' % seq + tail + b"\n" for seq in range(100_000))
    (tmp_path / "requests-0.jsonl").write_bytes(rows)
    began = clock.monotonic()
    history = journal.read(tmp_path)
    took = clock.monotonic() - began
    assert len(history.requests) == 100_000
    assert took < 30  # 0.5 s on a quiet machine; what reads a file once for each line takes minutes


def test_a_file_that_ends_before_its_time_is_noticed_though_no_line_is_torn(tmp_path):
    told = RunEnded(status=RunStatus.COMPLETED, undo=UndoState.CLEAN, lines={"observer": 3, "load": 2})
    write(tmp_path / "journal.jsonl", [told], writer="runner")
    write(tmp_path / "requests-load.jsonl", [Noted(actor="load", text="x")] * 2, writer="load")
    write(tmp_path / "observations.jsonl", [Observed(probe="health", value=1.0)] * 2, writer="observer")
    assert "the last 1 lines of observer are missing" in journal.read(tmp_path).damage
    (tmp_path / "observations.jsonl").unlink()
    assert "the last 3 lines of observer are missing" in journal.read(tmp_path).damage
    assert not any("of load" in damage for damage in journal.read(tmp_path).damage)


@given(st.lists(st.integers(0, 10**9), max_size=60))
def test_a_stored_request_reads_as_the_one_that_was_written(tokens):
    written = answered(0.0, tuple(tokens))
    read = stored.decode(
        msgspec.json.encode(Line(writer="w", seq=0, boot="b", mono=0.0, wall=0.0, event=written))
    ).event
    for name in ("tokens", "chunks", "first", "last", "ttft", "last_progress", "inter_token"):
        assert getattr(read, name) == getattr(written, name)
    assert list(read.gaps) == list(written.gaps)


def test_a_row_cannot_tell_another_time_to_first_token_than_its_tokens_do():
    row = msgspec.json.encode(Line(writer="w", seq=0, boot="b", mono=0.0, wall=0.0, event=answered(0.0, ())))
    forged = row.replace(b'"tokens":[]', b'"tokens":[],"ttft":0.001')
    assert forged != row
    assert stored.decode(forged).event.ttft is None


@pytest.mark.parametrize(
    "tokens",
    [
        "5",
        '"5"',
        "null",
        "[[5]]",
        '["5"]',
        "[-5]",
        "[1.5]",
        "[1e3]",
        "[true]",
        "[" + "9" * 400 + "]",
        "[5," + "9" * 400 + "]",
    ],
)
def test_token_times_that_are_no_times_are_damage(tmp_path, tokens):
    write(tmp_path / "journal.jsonl", [ended()])
    whole = write(tmp_path / "requests-load.jsonl", [answered(0.0, (7,))] * 3)
    rows = whole.splitlines(keepends=True)
    rows[1] = rows[1].replace(b"[7]", tokens.encode())
    (tmp_path / "requests-load.jsonl").write_bytes(b"".join(rows))
    history = journal.read(tmp_path)
    assert len(history.requests) == 2
    assert any("requests-load.jsonl:2: not a line of a journal" in one for one in history.damage)
