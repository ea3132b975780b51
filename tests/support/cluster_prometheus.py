"""The real Prometheus on the node of a test cluster: it finds the pods through the API, and has the shipped rules."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml

from drillbook import catalog
from drillbook.sandbox.discovery import PORTS
from drillbook.sandbox.monitoring import SCRAPED

READY_SECONDS = 60.0
_POD = "__meta_kubernetes_pod"


def configuration(kubeconfig: Path, namespace: str, rules: Path) -> str:
    """Scrapes the named ports every two seconds, with the labels that the rules go by."""
    labels = {
        "__meta_kubernetes_namespace": "namespace",
        f"{_POD}_name": "pod",
        f"{_POD}_node_name": "node",
        f"{_POD}_label_app_kubernetes_io_component": "component",
    }
    keep = {"source_labels": [f"{_POD}_container_port_name"], "regex": "|".join(sorted(PORTS)), "action": "keep"}
    named = [{"source_labels": [source], "target_label": target} for source, target in labels.items()]
    found = {"role": "pod", "kubeconfig_file": str(kubeconfig), "namespaces": {"names": [namespace]}}
    return yaml.safe_dump({
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "vllm", "kubernetes_sd_configs": [found], "relabel_configs": [keep, *named]}
        ],
    })  # fmt: skip


@contextlib.contextmanager
def prometheus(kubeconfig: Path, namespace: str, folder: Path) -> Iterator[str]:
    """Its base URL, once it has scraped every engine."""
    binary = shutil.which("prometheus")
    assert binary is not None
    (folder / "rules").mkdir()
    shutil.copy(catalog.alert_rules(), folder / "rules")
    config = folder / "prometheus.yml"
    config.write_text(configuration(kubeconfig, namespace, folder / "rules" / "*.yaml"), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--query.lookback-delta=15s", "--log.level=warn"]
    url = f"http://127.0.0.1:{port}"
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(url, server, folder / "prometheus.log")
            yield url
        finally:
            server.terminate()
            server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            query = urllib.parse.urlencode({"query": SCRAPED})
            with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=5) as answer:
                if b'"result":[]' not in answer.read():
                    return
        time.sleep(0.5)
    raise TimeoutError(f"it scraped no engine within {READY_SECONDS:g} s:\n{log.read_text()}")
