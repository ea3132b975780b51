from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def writing() -> ModuleType:
    """The helpers of ``writing.py``, which lies beside the tests and belongs to no package."""
    spec = importlib.util.spec_from_file_location("experiments_writing", Path(__file__).with_name("writing.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
