"""Chaos Toolkit's own experiments, through ``drillbook run`` and through ``chaos run``: each known defect is a row."""

from __future__ import annotations

import signal

import pytest
import side_by_side
from side_by_side import ROWS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_drillbook_puts_back_whatever_happens_and_says_so(row, through_drillbook):
    result = through_drillbook(row)
    assert result.code == row.code, result.output
    assert not result.fault_left
    assert "Traceback" not in result.output
    if row.code in (2, 4):
        assert result.journal is None
        return
    assert result.journal is not None
    assert result.journal["drillbook"]["ended"]
    played = [(item["activity"]["name"], item["status"]) for item in result.journal["rollbacks"]]
    assert played == [("mend", "succeeded")]


@pytest.mark.chaostoolkit
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_chaos_run_does_worse_on_the_same_experiment(row, tmp_path):
    """The defect is still there: the comparison in the documentation is true for the version that is installed."""
    result = side_by_side.theirs(row, tmp_path)
    match row.experiment:
        case "interrupted" if row.sent is signal.SIGTERM:
            assert result.code == 0  # the action swallows it, and a run that was told to end passes
        case "interrupted" | "safeguard" | "service-down":
            assert result.fault_left
        case "value-none" | "value-nan" | "value-dict" | "value-list":
            assert result.fault_left
            assert result.journal is None
        case "violated-on-the-way":
            assert result.code == 0
            assert not result.journal["deviated"]
        case "nothing-once":
            assert result.journal["status"] == "aborted"
            assert not result.journal["deviated"]
        case "fail-fast":
            assert result.fault_left
            assert result.seconds > 6
        case "refused" | "misspelt-method" | "misspelt-background" | "missing-control":
            assert result.code == 0
        case "async-activity":
            assert not result.fault_happened
        case "time-out":
            assert result.code == 0
            assert result.seconds > 8
        case "unspeakable":
            assert result.journal is None
        case _:
            pytest.fail("this row says nothing of chaos run")


@pytest.mark.parametrize(
    ("experiment", "told"),
    [
        ("misspelt-method", "misspelt-method.json:4:3: 'metod' is no key here"),
        ("misspelt-background", "misspelt-background.json:13:7: 'backgroud' is no key here"),
    ],
)
def test_a_misspelt_key_is_told_with_its_line_and_what_was_meant(experiment, told, through_drillbook):
    row = next(row for row in ROWS if row.experiment == experiment)
    output = through_drillbook(row).output
    assert told in output
    assert f"did you mean '{experiment.partition('-')[2]}'?" in output


def test_a_safeguard_that_is_not_installed_stops_the_run_before_anything_is_touched(through_drillbook):
    row = next(row for row in ROWS if row.experiment == "missing-control")
    result = through_drillbook(row)
    assert "No module named 'no_such_safeguards'" in result.output
    assert not result.fault_happened
    assert result.journal is None


def test_fail_fast_ends_the_activity_in_flight(through_drillbook):
    row = next(row for row in ROWS if row.experiment == "fail-fast")
    result = through_drillbook(row)
    assert [item["status"] for item in result.journal["run"]] == ["succeeded", "aborted"]
    assert result.journal["run"][1]["duration"] < 3


def test_after_a_kill_the_guardian_plays_the_rollbacks_and_the_journal_says_who_did(through_drillbook):
    row = next(row for row in ROWS if row.sent is signal.SIGKILL)
    journal = through_drillbook(row).journal
    assert journal["drillbook"]["rolled-back-by"] == "guardian"
    assert journal["drillbook"]["status"] == "crashed"
    assert journal["status"] == "interrupted"
