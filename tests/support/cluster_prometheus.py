"""The real Prometheus on the node of a test cluster, with the shipped rules.

Debian builds it without discovery through the API. So a program beside it (this file) writes what it shall scrape, by
the sandbox's own rule: ``python tests/support/cluster_prometheus.py KUBECONFIG NAMESPACE FILE``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml

from drillbook import catalog
from drillbook.sandbox.discovery import targets
from drillbook.sandbox.monitoring import SCRAPED
from drillbook.targets import paths
from drillbook.targets.kube import Kube

READY_SECONDS = 60.0
EVERY = 1.0


def configuration(pods: Path, rules: Path) -> str:
    """Scrapes every two seconds what is in ``pods``."""
    found = {"job_name": "vllm", "file_sd_configs": [{"files": [str(pods)], "refresh_interval": "1s"}]}
    times = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"}
    return yaml.safe_dump({"global": times, "rule_files": [str(rules)], "scrape_configs": [found]})


@contextlib.contextmanager
def prometheus(kubeconfig: Path, namespace: str, folder: Path) -> Iterator[str]:
    """Its base URL, once it has scraped every engine."""
    binary = shutil.which("prometheus")
    assert binary is not None
    (folder / "rules").mkdir()
    shutil.copy(catalog.alert_rules(), folder / "rules")
    config = folder / "prometheus.yml"
    config.write_text(configuration(folder / "pods.json", folder / "rules" / "*.yaml"), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--query.lookback-delta=15s", "--log.level=warn"]
    url = f"http://127.0.0.1:{port}"
    finding = [sys.executable, __file__, str(kubeconfig), namespace, str(folder / "pods.json")]
    with (folder / "prometheus.log").open("wb") as log:
        programs = [subprocess.Popen(each, stdout=log, stderr=log) for each in (command, finding)]
        try:
            _wait(url, programs[0], folder / "prometheus.log")
            yield url
        finally:
            for program in programs:
                program.terminate()
                program.wait(30)


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


async def follow(kubeconfig: Path, namespace: str, file: Path) -> None:
    """Write what is to be scraped, until it is ended."""
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        while True:
            draft = file.with_suffix(".new")
            draft.write_text(json.dumps(targets(await kube.list(paths.pods(namespace)))), encoding="utf-8")
            draft.replace(file)
            await asyncio.sleep(EVERY)


if __name__ == "__main__":
    asyncio.run(follow(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
