import itertools

import pytest

from drillbook.errors import Exit
from drillbook.model.verdict import RunStatus, UndoState, Verdict, exit_code


def test_the_worst_verdict_wins():
    assert Verdict.worst([Verdict.HELD, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert Verdict.worst([Verdict.REFUTED, Verdict.INCONCLUSIVE]) is Verdict.REFUTED
    assert Verdict.worst([Verdict.HELD]) is Verdict.HELD


def test_nothing_judged_is_not_a_pass():
    assert Verdict.worst([]) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("status", "verdict"), list(itertools.product(RunStatus, Verdict)))
def test_a_failed_undo_overrides_every_other_exit_code(status, verdict):
    assert exit_code(status, verdict, UndoState.REMAINS) is Exit.UNDO_FAILED


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [
        (RunStatus.COMPLETED, Verdict.HELD, 0),
        (RunStatus.COMPLETED, Verdict.REFUTED, 1),
        (RunStatus.ABORTED, Verdict.REFUTED, 1),
        (RunStatus.COMPLETED, Verdict.INCONCLUSIVE, 3),
        (RunStatus.INTERRUPTED, Verdict.INCONCLUSIVE, 130),
        (RunStatus.CRASHED, Verdict.INCONCLUSIVE, 70),
    ],
)
def test_a_shell_sees_verdict_and_status_as_one_code(status, verdict, code):
    assert exit_code(status, verdict, UndoState.CLEAN) == code
