"""The alert drills against real vLLM on a real cluster, with a real Prometheus that has the shipped rules."""

from __future__ import annotations

import shutil

import pytest
import vllm_cluster
import yaml
from cluster_prometheus import prometheus

from drillbook import catalog

pytestmark = [pytest.mark.cluster, pytest.mark.vllm]


@pytest.fixture(scope="module")
def watched(vllm, tmp_path_factory):
    if shutil.which("prometheus") is None:
        pytest.skip("needs the prometheus binary")
    with prometheus(vllm, vllm_cluster.NAMESPACE, tmp_path_factory.mktemp("prometheus")) as url:
        yield url


def of_this_cluster(name, url, folder):
    """The shipped experiment, told where the Prometheus of this cluster is."""
    experiment = yaml.safe_load(catalog.find("experiments", name).read_text(encoding="utf-8"))
    experiment["target"]["prometheus"] = url
    place = folder / f"{name}.yaml"
    place.write_text(yaml.safe_dump(experiment, sort_keys=False), encoding="utf-8")
    return place


def test_a_hung_engine_fires_its_alert_and_no_other(run, watched, tmp_path):
    judgement, found, _ = run(of_this_cluster("engine-hang-alerted", watched, tmp_path))
    assert (found["bites"], found["undo"]) == (["bit"], "clean")
    held = {each["expectation"]: each["verdict"] for each in judgement["findings"]}
    assert held["alert EngineHung fires within 60s of effect"] == "held"
    assert held["alert EngineDown stays silent"] == "held"
    assert found["detect"] is not None


def test_a_hang_that_no_alert_was_made_for_is_refuted(run, watched, tmp_path):
    judgement, found, _ = run(of_this_cluster("engine-hang-unalerted", watched, tmp_path))
    assert (judgement["verdict"], found["bites"], found["undo"]) == ("refuted", ["bit"], "clean")
