"""A real cluster with two engines of real vLLM behind vllm-router: ``make test-cluster KUBECONFIG=…``.

``DRILLBOOK_VLLM_PYTHON`` is the Python of an environment with vLLM on the cluster's node, which is this machine.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import vllm_cluster
from drill_figures import Figures


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    given = os.environ.get("DRILLBOOK_TEST_KUBECONFIG")
    if not given:
        pytest.skip("needs a cluster: make test-cluster KUBECONFIG=path")
    return Path(given)


@pytest.fixture(scope="session")
def vllm(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cluster's kubeconfig, once both engines serve."""
    python = os.environ.get("DRILLBOOK_VLLM_PYTHON")
    if not python:
        pytest.skip("needs real vLLM on the cluster's node: DRILLBOOK_VLLM_PYTHON")
    folder = tmp_path_factory.mktemp("models")
    folder.chmod(0o755)
    asyncio.run(vllm_cluster.up(kubeconfig, python, folder))
    yield kubeconfig
    if "DRILLBOOK_KEEP_CLUSTER" not in os.environ:
        asyncio.run(vllm_cluster.down(kubeconfig))


@pytest.fixture(scope="session")
def figures() -> Figures:
    """What the drills measured, for ``docs/side-by-side.md``: written to ``$DRILLBOOK_FIGURES`` where that is set."""
    found = Figures("cluster vLLM")
    yield found
    found.write()
