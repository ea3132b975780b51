"""Untrusted bytes become a tree with places, or problems that a person understands."""

from __future__ import annotations

import time

import pytest

from drillbook.document import reading
from drillbook.document.node import Document


def parse(text: str | bytes) -> Document:
    return reading.parse(text if isinstance(text, bytes) else text.encode(), "x.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: on", {"a": "on"}),
        ("a: yes", {"a": "yes"}),
        ("no: 1", {"no": 1}),
        ("on: true", {"on": True}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: 2026-11-21", {"a": "2026-11-21"}),
        ("a: 010", {"a": 10}),
        ("a: 0x1F", {"a": 31}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: '1'", {"a": "1"}),
        ("a: ~\nb:\nc: null", {"a": None, "b": None, "c": None}),
        ("1: a", {"1": "a"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a: >\n  one\n  two\n", {"a": "one two\n"}),
    ],
)
def test_plain_values_mean_what_yaml_1_2_says(text, value):
    document = parse(text)
    assert document.problems == []
    assert document.value == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "x.yaml:1:1: the file is empty"),
        ("# nothing\n", "x.yaml:1:1: the file is empty"),
        ("- a", "x.yaml:1:1: the file is a list, and a mapping is wanted: lines of 'key: value'"),
        ("hello", "x.yaml:1:1: the file is a text, and a mapping is wanted: lines of 'key: value'"),
        ("a: 1\na: 2", "x.yaml:2:1: the key 'a' is said twice; first in line 1"),
        ("a:\n  b: 1\n  b: 2", "x.yaml:3:3: the key 'b' is said twice; first in line 2"),
        ("a: 1\n---\nb: 2", "x.yaml:2:1: a second document begins here ('---')"),
        ("a:\n\tb: 1", "x.yaml:2:1: a tab stands in the indentation"),
        ("a: b: c", "x.yaml:1:5: a ':' stands where no 'key: value' can begin"),
        ("a: 1\nb\nc: 2", "x.yaml:2:1: a key without its ':'"),
        ("a: 'x", "x.yaml:1:4: the file ends inside quotes"),
        ("a: [1, 2", "x.yaml:1:9: a ',' or ']' is missing"),
        ("a: {b: 1", "x.yaml:1:9: a ',' or '}' is missing"),
        ("a: @x", "x.yaml:1:4: a text cannot begin with '@' here"),
        ("a: >= 5", "x.yaml:1:5: a text that begins with '>' or '|' is taken for a folded block"),
        ("a: {{ x }}", "x.yaml:1:5: a key is a plain word, and this is a list or a mapping"),
        ("a: *x", "x.yaml:1:4: *x refers to nothing that was finished before it"),
        ("a: &x [*x]", "x.yaml:1:8: *x refers to nothing that was finished before it"),
        ("a: !!python/object/apply:os.system ['id']", "x.yaml:1:4: the tag '!!python/object/apply:os.system' is not"),
        ("a: !ruby x", "x.yaml:1:4: the tag '!ruby' is not allowed: files hold data and construct no objects"),
        ("<<: {a: 1}", "x.yaml:1:1: merge keys ('<<') are not part of YAML 1.2 and not read"),
        ("a: 1e999", "x.yaml:1:4: 1e999 is larger than any number can be"),
        ("a: .nan", "x.yaml:1:4: .nan is no number that can be measured against"),
        ("a: " + "9" * 40, "x.yaml:1:4: this number is too long"),
        ("a: " + "9" * 20_000, "x.yaml:1:4: a text of 20,000 characters; 10,000 are the most"),
        ("a: x\0y", "x.yaml:1:5: a NUL byte stands in the text"),
        ("ok: 1\na: \x1b[31m", "x.yaml:2:4: the control character 0x1b stands in the text"),
        (b"ok: 1\na: \xe9", "x.yaml:2:4: the byte 0xe9 is not UTF-8"),
        (b"\xff\xfea\x00", "x.yaml:1:1: this is UTF-16, and UTF-8 is wanted"),
        ("[" * 1000, "x.yaml:1:41: nested more than 40 deep"),
        ("a: [" + "x, " * 600 + "]", "more than 500 items in one list"),
        ("a: [" + f"[{'x, ' * 400}]," * 20 + "]", "the file holds more than 5,000 values"),
        ("a: " + "x" * 300_000, "x.yaml: larger than 256 KiB"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, told):
    problems = parse(text).problems
    assert len(problems) == 1
    assert told in str(problems[0])


def test_an_alias_bomb_is_counted_as_what_it_stands_for_and_never_built():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    began = time.process_time()
    assert "more than 5,000 values" in parse(bomb).problems[0].message
    assert time.process_time() - began < 10  # built, it would fill the memory


def test_a_deep_chain_of_aliases_counts_as_deep():
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100))
    assert "nested more than 40 deep" in parse(text).problems[0].message


def test_a_value_behind_an_alias_is_shown_where_it_is_written():
    problem = parse("a: &x\n  b: 1\nc: *x").problem(["c", "b"], "wrong")
    assert (problem.line, problem.column) == (2, 6)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: one two three", "three"),
        ("a: 'one two three'", "three"),
        ('a: "one two three"', "three"),
        ("a: one\n   two\n   three", "three"),
        ("a: >\n  one\n  two three\n", "three"),
        ("a: |\n  one\n  two three\n", "three"),
        ("a: >-\n\n    one two\n    three", "three"),
        ("a: 'one\n  two three'", "three"),
        ("a: 😀 two three", "three"),
        ("a: one two three", "one"),
    ],
)
def test_a_place_inside_a_text_is_found_through_quotes_and_folds(text, word):
    document = parse(text)
    problem = document.problem(["a"], "wrong", inside=str(document.value["a"]).index(word))
    assert text.splitlines()[problem.line - 1][problem.column - 1 :].startswith(word)
    assert problem.excerpt.count("^") == len(word)


def test_the_caret_of_a_long_line_stays_in_sight():
    text = "a: [" + "x, " * 200 + "y]"
    problem = parse(text).problem(["a", 200], "wrong")
    shown, caret = problem.excerpt.splitlines()
    assert shown[caret.index("^")] == "y"
    assert max(len(shown), len(caret)) < 120


def test_no_such_file_and_a_folder_are_problems_not_tracebacks(tmp_path):
    from drillbook.errors import InvalidFileError

    with pytest.raises(InvalidFileError, match="1 problem") as caught:
        reading.read(tmp_path / "none.yaml")
    assert "no such file" in str(caught.value.problems[0])
    with pytest.raises(InvalidFileError) as caught:
        reading.read(tmp_path)
    assert "this is a folder" in str(caught.value.problems[0])
    with pytest.raises(InvalidFileError) as caught:
        reading.read(tmp_path / "a\0b")
    assert "cannot be read" in str(caught.value.problems[0])


def test_a_device_is_not_read(tmp_path):
    from pathlib import Path

    from drillbook.errors import InvalidFileError

    with pytest.raises(InvalidFileError) as caught:
        reading.read(Path("/dev/zero"))
    assert "no regular file" in str(caught.value.problems[0])
