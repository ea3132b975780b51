"""The shipped alert rules: promtool's own tests of them, and that each leads to a playbook that exists."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from drillbook import catalog

HERE = Path(__file__).parent
RULES = HERE.parents[1] / "playbooks" / "alerts.yaml"
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@promtool
@pytest.mark.parametrize("file", sorted(path.name for path in HERE.glob("*.yaml")))
def test_each_rule_fires_on_its_failure_and_on_nothing_else(file):
    told = subprocess.run(["promtool", "test", "rules", file], cwd=HERE, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_every_rule_is_tried_by_a_test_of_promtool():
    tried = "".join(path.read_text() for path in HERE.glob("*.yaml"))
    assert not [rule["alert"] for rule in rules() if f"alertname: {rule['alert']}" not in tried]


def test_every_rule_says_how_bad_it_is_and_what_to_do_and_names_a_playbook_that_exists():
    known = {entry.name for entry in catalog.entries("playbooks")}
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["labels"].get("playbook", "engine-hang") in known


def test_the_file_of_rules_is_no_playbook():
    assert "alerts" not in {entry.name for entry in catalog.entries("playbooks")}
    assert catalog.alert_rules() == RULES
