"""The published JSON Schema and the loader say the same."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from drillbook import catalog
from drillbook.experiments.load import load
from drillbook.experiments.schema import json_schema
from drillbook.faults.registry import FAULTS


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


SHIPPED = catalog.entries("experiments", catalog.own_root())


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_every_experiment_that_comes_with_drillbook_is_valid(validator, entry):
    validator.validate(yaml.safe_load(entry.path.read_text()))
    assert load(entry.path).experiment.title


def test_the_first_experiments_come_with_drillbook():
    assert {"pod-kill", "engine-hang", "engine-crash"} <= {entry.name for entry in SHIPPED}


def test_what_is_written_back_with_all_defaults_is_valid(validator, writing, tmp_path):
    validator.validate(load(writing.write(tmp_path)).experiment.model_dump(mode="json", by_alias=True))


@pytest.mark.parametrize(
    "parts",
    [
        {"load": ""},
        {"load": "load: {rate: 6}"},
        {"load": "load: {rate: 6/s, output_tokens: 5}"},
        {"title": "title: 3"},
        {"steady_state": "steady-state: goodput >= 95%"},
        {"expect": "expect: []"},
        {"expect": "expect: [7]"},
        {"expect": "expect: [{alway: goodput}]"},
        {"method": "method: [{fault: podkill}]"},
        {"method": "method: [{fault: pod-kill, process: vllm}]"},
        {"method": "method: [{at: 1s}]"},
        {"target": "target: {namespace: LLM}"},
        {"more": "extra: 1"},
    ],
    ids=lambda parts: next(iter(parts.values())) or "left out",
)
def test_what_the_loader_refuses_for_its_shape_the_schema_refuses_too(validator, writing, parts):
    assert not validator.is_valid(yaml.safe_load(writing.text(**parts)))


@pytest.mark.parametrize(
    "parts",
    [
        {"expect": "expect: [{always: goodput, is: '>= 95%', during: observe}]"},
        {"method": "method: [{fault: process-hang, for: 20s, count: all, bites: {probe: goodput, is: '< 50%'}}]"},
        {"more": "abort-when: [goodput < 20% for 20s]\nslo: {ttft: 2s}\nlimits: {replicas: 1, capacity-left: 50%}"},
    ],
    ids=["an expectation as a mapping", "a held fault", "the rest"],
)
def test_what_the_loader_takes_the_schema_takes_too(validator, writing, tmp_path, parts):
    load(writing.write(tmp_path, **parts))
    validator.validate(yaml.safe_load(writing.text(**parts)))


def test_the_schema_knows_every_fault_and_describes_every_key():
    schema = json_schema()
    assert set(schema["properties"]["method"]["items"]["discriminator"]["mapping"]) == set(FAULTS)
    assert schema["properties"]["load"]
    load_keys = schema["$defs"]["LoadSpec"]["properties"]
    assert "patience of a user" in load_keys["stall-timeout"]["description"]
    assert load_keys["stall-timeout"]["default"] == "10s"
    assert all("_" not in key for definition in schema["$defs"].values() for key in definition.get("properties", {}))
