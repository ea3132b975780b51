"""What the repository promises about itself."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import drillbook

ROOT = Path(drillbook.__file__).parent.parent
MODULES = sorted(ROOT.glob("drillbook/**/*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_longer_than_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_every_module_says_what_it_is():
    silent = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_every_module_imports_cleanly():
    names = [module.name for module in pkgutil.walk_packages(drillbook.__path__, "drillbook.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)


def test_time_is_read_at_one_door():
    doors = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if path.name != "clock.py"
        and any(word in path.read_text() for word in ("time.time(", "time.monotonic(", "datetime.now("))
    ]
    assert doors == []


def test_every_test_that_the_table_of_failures_names_is_there():
    table = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+/test_\w+\.py)`", table))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / "tests" / name).is_file()] == []


def test_importing_the_package_brings_nothing_heavy():
    heavy = ("kubernetes", "aiohttp", "pydantic", "rich", "jinja2")
    code = f"import drillbook, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
