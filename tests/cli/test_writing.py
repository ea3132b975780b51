"""The commands with which experiments are written: validate, list, show, schema, init, trust."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from drillbook import site
from drillbook.errors import Exit

GOOD = """\
title: A test
load: {rate: 6/s}
steady-state: [goodput >= 95%]
method: [{fault: process-hang, for: 20s, at: 5s, role: engine, count: 2}]
expect:
  - recovered within 30s of undo
  - always goodput >= 50% during observe
"""


@pytest.fixture
def book(drillbook, tmp_path, monkeypatch):
    """A drillbook of one's own, and the working directory in it."""
    told = drillbook("init", tmp_path / "book")
    assert told.exit_code == 0, told.output
    monkeypatch.chdir(tmp_path / "book")
    return tmp_path / "book"


def test_a_good_file_is_ok_in_a_line(drillbook, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    told = drillbook("validate", path)
    assert told.exit_code == 0
    assert told.output == f"ok  {path}: A test (process-hang; 2 expectations)\n"


def test_all_problems_of_all_files_are_told_and_counted(drillbook, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("95%", "95").replace("6/s", "6"))
    (tmp_path / "b.yaml").write_text(GOOD)
    (tmp_path / "c.yaml").write_text("")
    told = drillbook("validate", tmp_path)
    assert told.exit_code == Exit.USAGE
    assert told.stdout == f"ok  {tmp_path / 'b.yaml'}: A test (process-hang; 2 expectations)\n"
    assert f"{tmp_path / 'a.yaml'}:2:14: 'rate': a rate is written with its unit" in told.stderr
    assert f"{tmp_path / 'a.yaml'}:3:27: '95' is a count" in told.stderr
    assert f"{tmp_path / 'c.yaml'}:1:1: the file is empty" in told.stderr
    assert told.stderr.endswith("error: 3 problems in 2 of 3 files\n")


def test_validate_for_scripts(drillbook, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("6/s", "6"))
    (tmp_path / "b.yaml").write_text(GOOD)
    told = drillbook("validate", "--json", tmp_path)
    assert told.exit_code == Exit.USAGE
    data = json.loads(told.stdout)
    assert [each["file"] for each in data["ok"]] == [str(tmp_path / "b.yaml")]
    assert {key: data["problems"][0][key] for key in ("file", "line", "column", "hint")} == {
        "file": str(tmp_path / "a.yaml"),
        "line": 2,
        "column": 14,
        "hint": "write 6/s, if that is what is meant",
    }


def test_a_file_that_is_not_there_exits_2(drillbook, tmp_path):
    told = drillbook("validate", tmp_path / "none.yaml")
    assert told.exit_code == Exit.USAGE
    assert "there is no file" in told.stderr


def test_a_folder_with_nothing_in_it_is_not_ok(drillbook, tmp_path):
    told = drillbook("validate", tmp_path)
    assert told.exit_code == Exit.USAGE
    assert "there is nothing to check" in told.stderr


def test_a_fresh_drillbook_is_valid_and_its_probe_is_trusted(drillbook, book):
    told = drillbook("validate")
    assert told.exit_code == 0, told.output
    assert [line.split(":")[0] for line in told.output.splitlines()] == [
        "ok  experiments/first-drill.yaml",
        "ok  probes/engine_restarts.py",
        "ok  playbooks/engine-lost.yaml",
    ]
    assert site.load(book / "probes" / "engine_restarts.py").engine_restarts.name == "engine-restarts"


def test_a_fresh_drillbook_has_the_schema_that_its_experiment_names(book):
    text = (book / "experiments" / "first-drill.yaml").read_text()
    first = text.splitlines()[0]
    schema = json.loads((book / "experiments" / first.partition("$schema=")[2]).read_text())
    jsonschema.validate(yaml.safe_load(text), schema)
    assert "runs/" in (book / ".gitignore").read_text().splitlines()


def test_init_overwrites_nothing(drillbook, book):
    before = (book / "experiments" / "first-drill.yaml").read_text()
    (book / "experiments" / "first-drill.yaml").write_text(before + "# mine\n")
    told = drillbook("init")
    assert told.exit_code == Exit.USAGE
    assert "experiments/first-drill.yaml" in told.stderr
    assert (book / "experiments" / "first-drill.yaml").read_text() == before + "# mine\n"


def test_init_vouches_for_no_python_that_was_there_before(drillbook, tmp_path):
    from drillbook.site import UntrustedError

    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "stranger.py").write_text("raise SystemExit('executed')\n")
    assert drillbook("init", tmp_path).exit_code == 0
    with pytest.raises(UntrustedError):
        site.load(tmp_path / "probes" / "stranger.py")


def test_init_where_nothing_can_be_written_says_so(drillbook, tmp_path):
    (tmp_path / "file").write_text("")
    told = drillbook("init", tmp_path / "file" / "book")
    assert told.exit_code == Exit.USAGE
    assert "cannot be written" in told.stderr


def test_a_broken_probe_file_is_told_and_never_executed(drillbook, book):
    (book / "probes" / "bad.py").write_text("raise SystemExit('executed')\ndef f(:\n")
    (book / "probes" / "worse.py").write_text("@probe('x', dimension='colour')\ndef f(target): ...\n")
    (book / "probes" / "taken.py").write_text("@probe('goodput', dimension='share')\ndef f(target): ...\n")
    told = drillbook("validate")
    assert told.exit_code == Exit.USAGE
    assert "probes/bad.py:2:7: this is no Python" in told.stderr
    assert "probes/worse.py:1:2: no dimension is called 'colour'" in told.stderr
    assert "drillbook has a probe of this name already: goodput" in told.stderr


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("experiments", {"pod-kill", "engine-hang", "engine-crash", "first-drill"}),
        ("faults", {"pod-kill", "process-kill", "process-hang"}),
        ("probes", {"goodput", "ttft.p95", "ready-engines", "recovered", "green-while-broken", "engine-restarts"}),
        ("playbooks", {"engine-lost"}),
        ("stacks", {"production-stack", "llm-d"}),
        ("prompts", {"chat"}),
    ],
)
def test_list_shows_what_there_is_to_people_and_to_scripts(drillbook, book, kind, names):
    rows = json.loads(drillbook("list", kind, "--json").output)
    assert names <= {row["name"] for row in rows}
    told = drillbook("list", kind)
    assert told.exit_code == 0
    assert all(name in told.output for name in names)


def test_list_says_what_is_yours_and_groups_by_failure_mode(drillbook, book):
    rows = {row["name"]: row for row in json.loads(drillbook("list", "--json").output)}
    assert rows["first-drill"]["from"] == "yours"
    assert rows["pod-kill"]["from"] == "drillbook"
    assert rows["pod-kill"]["group"] == "replica-loss"
    assert rows["pod-kill"]["faults"] == "pod-kill"


def test_an_invalid_experiment_is_listed_as_such(drillbook, book):
    (book / "experiments" / "broken.yaml").write_text("title: 3\n")
    rows = {row["name"]: row for row in json.loads(drillbook("list", "--json").output)}
    assert rows["broken"]["title"].startswith("invalid: ")


def test_show_prints_the_file_and_reads_it_aloud(drillbook, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    told = drillbook("show", path).output
    assert GOOD.rstrip() in told
    assert "after 5s: process-hang on 2 engine pods, process VLLM::EngineCore, held for 20s, then undone" in told
    assert "recovered happens within 30s of the undo" in told
    assert "at every moment, goodput is at least 50% during observe" in told
    assert "Everything is put back, however the run ends." in told


def test_show_for_scripts(drillbook, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    data = json.loads(drillbook("show", "--json", path).output)
    assert data["experiment"]["load"]["stall-timeout"] == "10s"
    assert data["reading"]["First, for 15s, must be true"] == ["goodput is at least 95%"]


def test_a_name_that_is_nearly_one_is_asked_about(drillbook):
    told = drillbook("show", "pod-kil")
    assert told.exit_code == Exit.USAGE
    assert "no experiment is called 'pod-kil'" in told.stderr
    assert "did you mean 'pod-kill'" in told.stderr


def test_the_schema_is_printed_as_json(drillbook):
    schema = json.loads(drillbook("schema").output)
    assert schema["$schema"].endswith("2020-12/schema")


def test_trust_tells_what_was_vouched_for_and_can_be_taken_back(drillbook, book):
    (book / "probes" / "mine.py").write_text("X = 1\n")
    told = drillbook("trust")
    assert "trusted  probes/mine.py  sha256:" in told.output
    assert site.load(book / "probes" / "mine.py").X == 1
    assert "not trusted any more" in drillbook("trust", "--revoke").output
    with pytest.raises(site.UntrustedError):
        site.load(book / "probes" / "mine.py")


def test_trust_outside_a_drillbook_says_what_to_give(drillbook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = drillbook("trust")
    assert told.exit_code == Exit.USAGE
    assert "drillbook trust PATH" in told.stderr
