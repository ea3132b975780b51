from __future__ import annotations

import subprocess

import pytest
from control_plane import kube, main_loop, namespace, own_plane, shared_plane
from drill_bench import Bench, until
from faulty_proxy import FaultyProxy
from own_sandbox import own_sandbox

__all__ = ["kube", "main_loop", "namespace", "own_plane", "shared_plane"]


@pytest.fixture
def small_disk(tmp_path):
    """Makes file systems of so many KiB, in memory."""
    made = []

    def make(size: int):
        folder = tmp_path / f"disk-{len(made)}"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(folder)], check=True)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """One sandbox with three engines for all runs here; its home is that of every process that a test starts."""
    settings = {"backoff_initial": 0.5, "backoff_max": 1.0}
    with own_sandbox(tmp_path_factory.mktemp("home"), "failing", settings=settings) as sandbox:
        yield sandbox


class Failing(Bench):
    """A bench whose runs reach the API server through a proxy that can fail."""

    def __init__(self, sandbox, folder, proxy) -> None:
        super().__init__(sandbox, folder)
        self.proxy = proxy

    def start_through(self, experiment, token: str = ""):
        kubeconfig = self.proxy.kubeconfig(self.folder / "kubeconfig", token=token)
        return self.start(experiment, where=("--kubeconfig", str(kubeconfig), "--endpoint", self.sandbox.endpoint))

    def until_put_back(self) -> None:
        until(lambda: self.stopped() == 0, 60)
        until(lambda: self.records() == [], 60)


@pytest.fixture
def bench(sandbox, tmp_path):
    """The sandbox with all its engines ready and none stopped; nothing of the test's is left running."""
    proxy = FaultyProxy(sandbox.api_url)
    bench = Failing(sandbox, tmp_path, proxy)
    until(bench.whole, 60)
    until(lambda: not bench.stopped(), 60)
    yield bench
    bench.close()
    proxy.close()
