"""A real Prometheus that scrapes an exporter of ours every half second, with one rule that fires at our word."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from drillbook.experiments.schema import experiment_type
from drillbook.model.units import Dimension
from drillbook.probes.registry import dimensions

RULES = {
    "groups": [
        {
            "name": "test",
            "interval": "500ms",
            "rules": [
                {
                    "alert": "TooDeep",
                    "expr": 'vllm:num_requests_waiting{pod="a"} > 50',
                    "labels": {"severity": "warning"},
                },
                {"alert": "NeverThere", "expr": "vllm:num_requests_waiting > 1e9"},
                {"alert": "Broken", "expr": "vllm:num_requests_waiting * on () vllm:num_requests_running > 0"},
            ],
        }
    ]
}


class Exporter:
    """Two engines in one page; what they say can be changed, and taken away."""

    def __init__(self) -> None:
        self.waiting, self.silent = {"a": 1.0, "b": 2.0}, False
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(503 if exporter.silent else 200)
                self.end_headers()
                if not exporter.silent:
                    self.wfile.write(exporter.page().encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self) -> str:
        rows = []
        for pod, value in self.waiting.items():
            labels = f'{{pod="{pod}",model_name="tiny",namespace="llm"}}'
            rows += [f"vllm:num_requests_waiting{labels} {value}", f"vllm:num_requests_running{labels} 1"]
        return "\n".join(rows) + "\n"


class Server:
    def __init__(self, folder: Path, exporter: Exporter) -> None:
        self.exporter = exporter
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        scrape = {
            "job_name": "test",
            "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{exporter.server.server_port}"]}],
        }
        times = {"scrape_interval": "500ms", "scrape_timeout": "400ms", "evaluation_interval": "500ms"}
        (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
        config = {"global": times, "rule_files": ["rules.yaml"], "scrape_configs": [scrape]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=error", "--query.lookback-delta=10s"],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait(self, query: str, seconds: float = 40.0) -> None:
        """Until a query gives anything."""
        path, deadline = f"/api/v1/query?query={query}", time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}{path}", timeout=3) as answer:
                if b'"result":[]' not in answer.read():
                    return
            time.sleep(0.1)
        raise AssertionError(f"{query} gave nothing")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


@pytest.fixture
def mortal(tmp_path):
    """One that the test may kill."""
    with serving(tmp_path) as found:
        yield found


@contextlib.contextmanager
def serving(folder):
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    exporter = Exporter()
    found = Server(folder, exporter)
    try:
        found.wait("rate(vllm:num_requests_waiting[5s])")
        yield found
    finally:
        found.process.kill()
        found.process.wait()
        exporter.server.shutdown()
        exporter.server.server_close()


def experiment(queries=None, expect=()):
    queries = {name: {"promql": promql, "unit": "count"} for name, promql in (queries or {}).items()}
    expect = [*expect, *(f"{name} < 5" for name in queries)] or ["goodput > 1%"]
    known = dimensions(dict.fromkeys(queries, Dimension.COUNT))
    return experiment_type().model_validate(
        {
            "title": "t", "load": {"rate": "5/s"}, "steady-state": ["goodput >= 95%"], "queries": queries,
            "method": [{"fault": "pod-kill"}], "expect": expect,
        },
        context={"probes": known},
    )  # fmt: skip


@pytest.fixture
def asking():
    """An experiment that asks these queries (each is to stay below 5) and expects that."""
    return experiment
