"""What an experiment may say of attacks, and that those which ship can be read and resolved."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from drillbook.adversarial.config import AttackerConfig
from drillbook.errors import InvalidFileError
from drillbook.experiments.load import load
from drillbook.sandbox import stack

SHIPPED = sorted((Path(__file__).parents[2] / "experiments" / "guardrails").glob("*.yaml"))


def problems(tmp_path: Path, **changes: object) -> list[str]:
    written = yaml.safe_load(SHIPPED[0].read_text()) | changes
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in written.items() if value is not None}))
    try:
        load(path)
    except InvalidFileError as error:
        return [f"{problem.message} | {problem.hint}" for problem in error.problems]
    return []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_drill_of_guardrails_is_valid_and_its_attacks_are_there(path: Path, tmp_path: Path):
    experiment = load(path).experiment
    (spec,) = experiment.attacks
    config = AttackerConfig.attack(spec, folder=tmp_path, base_url="http://127.0.0.1:1", model="m", beside=path.parent)
    assert config.rate > 0
    assert stack.layout_like(experiment.target.stack) == "guardrailed"


def test_a_plan_that_does_not_exist_is_told_with_one_that_does(tmp_path: Path):
    (found,) = problems(tmp_path, attacks=[{"plan": "under-faults"}])
    assert "no plan is called 'under-faults'" in found
    assert "under-fault" in found.partition("|")[2]


def test_a_pack_outside_the_experiments_folder_is_refused(tmp_path: Path):
    (found,) = problems(tmp_path, attacks=[{"pack": "../../secrets.jsonl"}])
    assert "outside the experiment's folder" in found


def test_nothing_can_be_expected_of_a_guardrail_that_nothing_attacks(tmp_path: Path):
    found = problems(tmp_path, attacks=None)
    assert found
    assert all("no attacks are sent" in each for each in found)
