"""Other people's chaos tools, of their own releases, work on the sandbox as on a cluster."""

from __future__ import annotations

import pytest


def assert_all_held(results):
    failed = {name: result["saw"] for name, result in results.items() if not result["ok"]}
    assert not failed, "\n".join(f"== {name}\n{why}" for name, why in failed.items())


@pytest.mark.root
def test_chaos_toolkits_kubernetes_extension_finds_a_cluster(run_checks):
    results = run_checks("chaosk8s_checks.py", "DRILLBOOK_CHAOSK8S_PYTHON", ".venv-chaosk8s")
    assert_all_held(results)
    assert len(results) >= 18


@pytest.mark.root
def test_krkn_lib_finds_a_cluster(run_checks):
    results = run_checks("krkn_checks.py", "DRILLBOOK_KRKN_PYTHON", ".venv-krkn")
    assert_all_held(results)
    assert len(results) >= 19
