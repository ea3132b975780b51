"""What exists, and what a name cannot reach."""

from __future__ import annotations

import pytest

from drillbook import catalog
from drillbook.errors import InvalidFileError, UsageError
from drillbook.model.units import Dimension


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A drillbook with one experiment, one probe, and something worth stealing beside it."""
    root = tmp_path / "book"
    for kind in catalog.KINDS:
        (root / kind).mkdir(parents=True)
    (root / "experiments" / "mode").mkdir()
    (root / "experiments" / "mode" / "mine.yaml").write_text("title: mine\n")
    (root / "probes" / "queue.py").write_text('@probe("queue", dimension="count")\nasync def q(target): ...\n')
    (tmp_path / "secret.yaml").write_text("title: secret\n")
    monkeypatch.chdir(root)
    return root


def test_the_users_own_come_first_and_then_drillbooks(book):
    entries = catalog.entries("experiments")
    assert (entries[0].name, entries[0].group, entries[0].own) == ("mine", "mode", False)
    assert any(entry.own and entry.name == "pod-kill" for entry in entries)


def test_one_of_the_users_takes_the_place_of_drillbooks_own(book):
    (book / "experiments" / "replica-loss").mkdir()
    (book / "experiments" / "replica-loss" / "pod-kill.yaml").write_text("title: other\n")
    assert catalog.find("experiments", "pod-kill") == catalog.near(
        book / "experiments" / "replica-loss" / "pod-kill.yaml"
    )


def test_a_drillbook_is_found_from_any_folder_below(book, monkeypatch):
    monkeypatch.chdir(book / "experiments" / "mode")
    assert catalog.user_root() == book


def test_a_folder_with_experiments_alone_is_no_drillbook(tmp_path):
    (tmp_path / "experiments").mkdir()
    assert catalog.user_root(tmp_path) != tmp_path


@pytest.mark.parametrize("name", ["mine", "mode/mine", "mine.yaml", "experiments/mode/mine.yaml"])
def test_a_file_is_found_by_its_name_and_by_its_path(book, name):
    assert catalog.find("experiments", name).resolve() == book / "experiments" / "mode" / "mine.yaml"


def test_a_name_in_two_folders_has_to_be_said_in_full(book):
    (book / "experiments" / "mine.yaml").write_text("title: too\n")
    with pytest.raises(UsageError, match="2 experiments are called 'mine'"):
        catalog.find("experiments", "mine")


@pytest.mark.parametrize("name", ["../secret", "../../secret", "/etc/passwd", "mode/../../../secret", "", ".", "a\0b"])
def test_a_name_never_leads_out_of_the_folders(book, name):
    with pytest.raises(UsageError):
        catalog.find("experiments", name)


def test_a_link_out_of_the_folder_is_not_there(book):
    (book / "experiments" / "stolen.yaml").symlink_to(book.parent / "secret.yaml")
    (book / "experiments" / "kept.yaml").symlink_to(book / "experiments" / "mode" / "mine.yaml")
    names = {entry.name for entry in catalog.entries("experiments")}
    assert "stolen" not in names
    assert "kept" in names


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_path_that_is_a_link_out_of_its_drillbook_is_refused_and_nothing_of_it_shown(book, linked):
    secret = book.parent / "elsewhere" / "secret.yaml"
    secret.parent.mkdir()
    secret.write_text("token: hush-hush\n")
    place = book / "experiments" / "stolen" / "secret.yaml"
    if linked == "file":
        place.parent.mkdir()
        place.symlink_to(secret)
    else:
        place.parent.symlink_to(secret.parent)
    with pytest.raises(InvalidFileError) as caught:
        catalog.find("experiments", str(place))
    assert "a link that leads out of the drillbook" in str(caught.value.problems[0])
    assert "hush" not in str(caught.value.problems[0])
    assert catalog.find("experiments", str(secret)) == secret
    assert catalog.find("experiments", "experiments/../../elsewhere/secret.yaml").is_file()


def test_a_link_to_itself_is_passed_over(book):
    (book / "experiments" / "loop.yaml").symlink_to("loop.yaml")
    assert "loop" not in {entry.name for entry in catalog.entries("experiments")}


def test_probes_are_read_off_their_decorators(book):
    (book / "probes" / "more.py").write_text(
        "import drillbook.probes as p\n\n"
        "@p.probe('a', dimension='share')\ndef a(target): ...\n\n"
        "@other\n@p.probe(name='b', dimension='duration', every='5s')\nasync def b(target): ...\n\n"
        "@unrelated('c')\ndef c(target): ...\n"
    )
    mine = {"queue": Dimension.COUNT, "a": Dimension.SHARE, "b": Dimension.DURATION}
    assert mine.items() <= catalog.declared_probes().items()
    assert "c" not in catalog.declared_probes()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def f(:", "x.py:1:7: this is no Python"),
        ("@probe(NAME, dimension='count')\ndef f(t): ...", "x.py:1:2: the name of a probe is written here"),
        ("@probe('a')\ndef f(t): ...", "x.py:1:2: the dimension of a probe is written here"),
        ("@probe('a', dimension='cuont')\ndef f(t): ...", "x.py:1:2: no dimension is called 'cuont'"),
        ("x = '\0'", "x.py"),
        ("-" * 100_000 + "1", "x.py"),
    ],
    ids=["no Python", "no name", "no dimension", "unknown dimension", "NUL", "too deep"],
)
def test_a_probe_file_that_declares_badly_is_told(tmp_path, source, told):
    (tmp_path / "x.py").write_text(source)
    with pytest.raises(InvalidFileError) as caught:
        catalog.declarations(tmp_path / "x.py")
    assert told in str(caught.value.problems[0])


def test_a_huge_folder_is_not_read_to_its_end(tmp_path):
    (tmp_path / "probes").mkdir()
    (tmp_path / "experiments").mkdir()
    for number in range(2100):
        (tmp_path / "experiments" / f"e{number}.yaml").touch()
    assert len([entry for entry in catalog.entries("experiments", tmp_path) if not entry.own]) == 2000
