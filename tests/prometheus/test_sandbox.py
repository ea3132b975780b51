"""Prometheus in a sandbox: what it is told to scrape, and whole drills with alerts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from drillbook import catalog
from drillbook.errors import UsageError
from drillbook.model.events import Observed
from drillbook.probes.collectors.prometheus import NO_PROMETHEUS, instruments
from drillbook.probes.names import ALERTS
from drillbook.sandbox import discovery, monitoring
from drillbook.targets.monitoring import prometheus
from drillbook.targets.stack import stack_named

ROOT = Path(__file__).parents[2]


def pod(name, phase="Running", ports=("container-port",), **meta):
    numbered = [{"name": port, "containerPort": 8000 + place} for place, port in enumerate(ports)]
    labels = {"app.kubernetes.io/component": "serving-engine"}
    return {
        "metadata": {"name": name, "namespace": "llm", "labels": labels, **meta},
        "spec": {"nodeName": "n1", "containers": [{"ports": numbered}]},
        "status": {"phase": phase, "podIP": "10.0.0.1"},
    }


def test_running_pods_are_scraped_at_the_ports_that_give_metrics_and_at_no_other():
    found = discovery.targets([pod("a", ports=("zmq-port", "container-port"))])
    labels = {"namespace": "llm", "pod": "a", "node": "n1", "component": "serving-engine"}
    assert found == [{"targets": ["10.0.0.1:8001"], "labels": labels}]


def test_pods_that_do_not_run_yet_or_are_going_are_not_scraped():
    going = pod("c", deletionTimestamp="2026-01-01T00:00:00Z")
    assert discovery.targets([pod("b", phase="Pending"), going]) == []


def test_the_manifests_carry_the_rules_and_what_discovery_tells():
    objects = monitoring.objects({"alerts.yaml": catalog.alert_rules().read_text()})
    by_kind = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    assert yaml.safe_load(by_kind["ConfigMap", "prometheus-rules"]["data"]["alerts.yaml"])["groups"]
    config = yaml.safe_load(by_kind["ConfigMap", "prometheus-config"]["data"]["prometheus.yml"])
    containers = by_kind["Deployment", "prometheus"]["spec"]["template"]["spec"]["containers"]
    file = config["scrape_configs"][0]["file_sd_configs"][0]["files"][0]
    assert file == next(one for one in containers if one["name"] == "discovery")["command"][-1]


async def test_the_service_of_a_sandbox_is_found_by_the_labels_that_charts_give():
    service = next(one for one in monitoring.objects({}) if one["kind"] == "Service")
    assert "app.kubernetes.io/name=prometheus" in stack_named("production-stack").prometheus
    assert service["metadata"]["labels"]["app.kubernetes.io/name"] == "prometheus"


async def test_without_a_prometheus_each_query_and_the_alerts_say_so(asking):
    async def nothing(*_, **__):
        return []

    spec = SimpleNamespace(prometheus=None, alertmanager=None)
    target = SimpleNamespace(
        spec=spec, namespace="llm", stack=stack_named("production-stack"), kube=SimpleNamespace(list=nothing)
    )
    asked = asking({"deep": "sum(x)"}, ["alert EngineHung fires"])
    seen: list[Observed] = []

    class DoneError(Exception):
        pass

    def emit(event):
        seen.append(event)
        if len(seen) == 2:
            raise DoneError

    (only,) = await instruments(asked, target, emit)
    with pytest.raises(DoneError):
        await only()
    assert [(one.probe, one.value, one.error) for one in seen] == [
        ("deep", None, NO_PROMETHEUS),
        (ALERTS, None, NO_PROMETHEUS),
    ]


@pytest.mark.whole
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("prometheus") is None, reason="needs root and prometheus")
@pytest.mark.parametrize(("name", "code"), [("engine-hang-alerted", 0), ("engine-hang-unalerted", 1)])
def test_a_hang_raises_the_alert_that_sees_it_and_no_other(name, code, tmp_path):
    command = [sys.executable, "-m", "drillbook", "run", f"experiments/alerts/{name}.yaml", "--sandbox", "alerts"]
    told = subprocess.run(
        [*command, "--runs", str(tmp_path), "--json"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "DRILLBOOK_HOME": str(tmp_path / "home")}, timeout=400,
    )  # fmt: skip
    assert told.returncode == code, told.stdout + told.stderr
    report = json.loads((tmp_path / name / "latest" / "report.json").read_text())
    fired = {alert["name"] for alert in report["alerts"] if alert["fired_at"] is not None}
    assert ("EngineHung" in fired) is (code == 0)
    assert "EngineDown" not in fired


async def test_credentials_in_the_url_of_a_prometheus_are_refused():
    target = SimpleNamespace(spec=SimpleNamespace(prometheus="http://me:secret@prometheus:9090"))
    with pytest.raises(UsageError, match="holds credentials"):
        await prometheus(target)
