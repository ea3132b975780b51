from __future__ import annotations

import pytest
import side_by_side


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if side_by_side.CHAOS.exists():
        return
    for item in items:
        if item.get_closest_marker("chaostoolkit"):
            item.add_marker(pytest.mark.skip(reason="needs Chaos Toolkit: make chaostoolkit-env"))


@pytest.fixture(scope="session")
def through_drillbook(tmp_path_factory):
    """The result of a row's experiment through ``drillbook run``; each is run once, whoever asks."""
    results = {}

    def run(row):
        if row.name not in results:
            results[row.name] = side_by_side.ours(row, tmp_path_factory.mktemp(row.name))
        return results[row.name]

    return run
