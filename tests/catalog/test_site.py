"""The user's Python is executed only where its very content is trusted."""

from __future__ import annotations

import sys

import pytest

from drillbook import catalog, site
from drillbook.errors import InvalidFileError, UsageError
from drillbook.site import UntrustedError


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("DRILLBOOK_HOME", str(tmp_path / "state"))
    root = tmp_path / "book"
    for kind in catalog.KINDS:
        (root / kind).mkdir(parents=True)
    (root / "probes" / "queue-length.py").write_text("VALUE = 41 + 1\n")
    yield root
    for name in [name for name in sys.modules if name.startswith("drillbook_site")]:
        del sys.modules[name]


def test_python_that_nobody_vouched_for_is_not_executed_and_the_error_says_what_to_run(book):
    with pytest.raises(UntrustedError) as caught:
        site.load(book / "probes" / "queue-length.py")
    assert f"drillbook trust {book}" in caught.value.hint
    assert "drillbook_site.probes.queue_length" not in sys.modules


def test_trusted_python_is_loaded_under_a_name_of_its_own(book):
    site.trust(book)
    module = site.load(book / "probes" / "queue-length.py")
    assert module.VALUE == 42
    assert module.__name__ == "drillbook_site.probes.queue_length"
    assert site.load(book / "probes" / "queue-length.py") is module
    assert str(book) not in sys.path


def test_a_file_that_changed_is_a_stranger_again(book):
    site.trust(book)
    (book / "probes" / "queue-length.py").write_text("VALUE = 43\n")
    with pytest.raises(UntrustedError, match="has changed since it was trusted"):
        site.load(book / "probes" / "queue-length.py")
    site.trust(book)
    assert site.load(book / "probes" / "queue-length.py").VALUE == 43


def test_a_new_file_in_a_trusted_drillbook_is_a_stranger(book):
    site.trust(book)
    (book / "probes" / "new.py").write_text("")
    with pytest.raises(UntrustedError, match="is not trusted yet"):
        site.load(book / "probes" / "new.py")


def test_a_copy_of_a_trusted_drillbook_elsewhere_is_a_stranger(book, tmp_path):
    import shutil

    site.trust(book)
    shutil.copytree(book, tmp_path / "copy")
    with pytest.raises(UntrustedError):
        site.load(tmp_path / "copy" / "probes" / "queue-length.py")


def test_a_link_to_python_elsewhere_is_refused(book, tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    (book / "probes" / "link.py").symlink_to(tmp_path / "evil.py")
    assert "probes/link.py" not in site.trust(book)
    with pytest.raises(UsageError, match="lies in no drillbook"):
        site.load(book / "probes" / "link.py")


def test_python_outside_of_any_drillbook_is_refused(tmp_path):
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "x.py").write_text("raise SystemExit('executed')")
    with pytest.raises(UsageError, match="lies in no drillbook"):
        site.load(tmp_path / "probes" / "x.py")


def test_an_unreadable_list_vouches_for_nothing(book):
    site.trust(book)
    for text in ("{", "[]", '{"x": 1}', "\0"):
        (site.state_folder() / "trust.json").write_text(text)
        with pytest.raises(UntrustedError):
            site.load(book / "probes" / "queue-length.py")


def test_the_list_is_for_its_owner_alone(book):
    site.trust(book)
    assert (site.state_folder() / "trust.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("\n\n1 / 0\n", ":3:1: fails when loaded: ZeroDivisionError"),
        ("def f(:\n", ":1:1: fails when loaded: SyntaxError"),
        ("import no_such_module\n", ":1:1: fails when loaded: ModuleNotFoundError"),
        ("\nraise SystemExit(0)\n", ":2:1: fails when loaded: SystemExit"),
    ],
    ids=["raises", "no Python", "a missing module", "ends the program"],
)
def test_python_that_fails_when_loaded_is_a_problem_with_its_line(book, source, told):
    path = book / "probes" / "bad.py"
    path.write_text(source)
    site.trust(book)
    with pytest.raises(InvalidFileError) as caught:
        site.load(path)
    assert told in str(caught.value.problems[0])
    assert "drillbook_site.probes.bad" not in sys.modules


def test_python_that_comes_with_drillbook_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("DRILLBOOK_HOME", str(tmp_path))
    own = tmp_path / "own"
    (own / "probes").mkdir(parents=True)
    (own / "experiments").mkdir()
    (own / "probes" / "slo.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(catalog, "own_root", lambda: own)
    assert site.load(own / "probes" / "slo.py").VALUE == 1
