"""The attack on the undo, short: a round of nearly every way; ``DRILLBOOK_ATTACK_ROUNDS=300`` is the long form."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROUNDS = int(os.environ.get("DRILLBOOK_ATTACK_ROUNDS", "0"))
SHORT = 12


@pytest.mark.root
def test_whatever_ends_a_run_everything_is_put_back_and_told_as_it_was(capsys):
    path = Path(__file__).with_name("undo_attack.py")
    spec = importlib.util.spec_from_file_location("undo_attack", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["undo_attack"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    seed = int(os.environ.get("DRILLBOOK_ATTACK_SEED", "1"))
    result = module.attack(ROUNDS or SHORT, seed=seed, minutes=60 if ROUNDS else 4, lanes=3)
    with capsys.disabled():
        sys.stdout.write(f"\n{result.summary()}\n")
    assert result.problems == []
    assert len(result.rounds) == (ROUNDS or SHORT)
