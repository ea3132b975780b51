"""drillbook's experiments written for Chaos Toolkit, and drillbook as its extension."""

from __future__ import annotations

import inspect
import json
import os
import subprocess

import pytest
import side_by_side

import drillbook
from drillbook import catalog
from drillbook.chaostoolkit import load as chaos
from drillbook.chaostoolkit import preflight
from drillbook.chaostoolkit.export import export
from drillbook.chaostoolkit.extension import actions, probes
from drillbook.experiments.load import load
from drillbook.faults.registry import FAULTS
from drillbook.probes.registry import PROBES

OWN = [entry.path for entry in catalog.entries("experiments")]


def chaos_run(*args, folder, **env):
    command = [str(side_by_side.CHAOS), "--no-version-check", *args]
    path = os.environ | {"PYTHONPATH": str(side_by_side.ROOT), "HOME": str(folder)} | env
    return subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def written(tmp_path):
    def write(path):
        exported, untold = export(load(path))
        out = tmp_path / f"{path.stem}.json"
        out.write_text(json.dumps(exported))
        return out, untold

    return write


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_every_experiment_that_ships_can_be_exported_and_run_again(path, written):
    out, _ = written(path)
    experiment = chaos.load(out)
    preflight.check(experiment)
    faults = [step.fault for step in load(path).experiment.method]
    assert [item["name"] for item in experiment.data["method"] if item["name"] in FAULTS] == faults
    assert [item["name"] for item in experiment.data["rollbacks"]] == ["undo", "stop load"]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_what_is_expected_stands_where_chaos_toolkit_asks_and_is_missed_by_nobody_before_the_fault(path, written):
    data = json.loads(written(path)[0].read_text())
    assert not [item["name"] for item in data["method"] if "tolerance" in item]
    experiment = load(path).experiment
    expected, steady = ({wanted.text for wanted in each} for each in (experiment.expect, experiment.steady_state))
    for probe in data["steady-state-hypothesis"]["probes"]:
        least, most = probe["tolerance"]["range"]
        before = probe["provider"]["arguments"].get("before")
        assert probe["name"] in (steady if before is None else expected)
        assert before is None or least <= before <= most


@pytest.mark.chaostoolkit
@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_chaos_validate_accepts_what_is_exported(path, written, tmp_path):
    told = chaos_run("validate", str(written(path)[0]), folder=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr


def test_what_chaos_toolkit_has_no_words_for_is_told_and_kept(written):
    path = catalog.find("experiments", "engine-hang")
    out, untold = written(path)
    assert untold == ["abort-when: goodput < 10% for 20s"]
    assert json.loads(out.read_text())["extensions"][0]["untold"] == untold


def test_a_held_fault_is_undone_in_its_time_and_again_by_the_rollbacks(written):
    data = json.loads(written(catalog.find("experiments", "engine-hang"))[0].read_text())
    start, hang, end = data["method"][:3]
    assert (start["name"], hang["name"], end["name"]) == ("start load", "process-hang", "undo process-hang")
    assert end["pauses"] == {"before": 20.0}
    assert end["provider"]["arguments"] == {"fault": "process-hang"}


def test_every_fault_is_an_action_and_every_probe_a_probe():
    assert {name.replace("-", "_") for name in FAULTS} <= set(actions.__all__)
    assert {name.replace("-", "_").replace(".", "_") for name in PROBES} == set(probes.__all__)
    for module in (actions, probes):
        for name in module.__all__:
            function = getattr(module, name)
            assert inspect.isfunction(function)
            assert not inspect.iscoroutinefunction(function)
            assert function.__doc__
            kinds = {each.kind for each in inspect.signature(function).parameters.values()}
            assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_chaos_toolkit_finds_discover_at_the_top_of_the_package():
    assert inspect.isfunction(drillbook.discover)


@pytest.mark.chaostoolkit
def test_chaos_discover_lists_the_extension_whole(tmp_path):
    told = chaos_run("discover", "--no-install", "drillbook", folder=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    found = json.loads((tmp_path / "discovery.json").read_text())
    by_type = {
        kind: {each["name"] for each in found["activities"] if each["type"] == kind} for kind in ("action", "probe")
    }
    assert by_type == {"action": set(actions.__all__), "probe": set(probes.__all__)}
    scale = next(each for each in found["activities"] if each["name"] == "scale")
    assert [each["name"] for each in scale["arguments"]][:2] == ["replicas", "role"]
    assert all(each["doc"] for each in found["activities"])
