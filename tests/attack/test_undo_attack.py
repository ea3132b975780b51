"""The attack on the undo: short wherever the tests run, longer with the whole runs, as long as one likes by a variable.

``DRILLBOOK_ATTACK_ROUNDS=300`` is the long form, ``DRILLBOOK_ATTACK_SEED`` another attack of the same length.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SHORT = 6
"""Rounds: each signal, a kill of the runner and one of runner and watchdog, and a closed terminal."""
LONG = int(os.environ.get("DRILLBOOK_ATTACK_ROUNDS", "12"))
SEED = int(os.environ.get("DRILLBOOK_ATTACK_SEED", "1"))


@pytest.mark.root
@pytest.mark.parametrize("rounds", [SHORT, pytest.param(LONG, marks=pytest.mark.whole)])
def test_whatever_ends_a_run_everything_is_put_back_and_told_as_it_was(rounds, capsys):
    path = Path(__file__).with_name("undo_attack.py")
    spec = importlib.util.spec_from_file_location("undo_attack", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["undo_attack"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    result = module.attack(rounds, seed=SEED, minutes=4 + rounds / 5, lanes=2 if rounds == SHORT else 3)
    with capsys.disabled():
        sys.stdout.write(f"\n{result.summary()}\n")
    assert result.problems == []
    assert len(result.rounds) == rounds
