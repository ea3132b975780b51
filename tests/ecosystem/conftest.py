"""Sandboxes, and the interpreters of the environments that ``make ecosystem-env`` builds."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from drillbook.sandbox import lifecycle

HERE = Path(__file__).parent


@pytest.fixture
def run_checks():
    """Run a script of checks in a sandbox of its own, with the interpreter of an environment or of a variable."""

    def run(script: str, variable: str, environment: str) -> dict[str, dict[str, object]]:
        python = Path(os.environ.get(variable, HERE.parents[1] / environment / "bin" / "python"))
        if not python.exists():
            pytest.skip(f"needs {environment}: make ecosystem-env")
        sandbox = asyncio.run(lifecycle.up("ecosystem", settings={"backoff_initial": 1.0}))
        try:
            variables = {**os.environ, "KUBECONFIG": str(sandbox.kubeconfig), "PYTHONDONTWRITEBYTECODE": "1"}
            done = subprocess.run([python, HERE / script], env=variables, capture_output=True, text=True, timeout=240)
        finally:
            asyncio.run(lifecycle.down("ecosystem"))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
