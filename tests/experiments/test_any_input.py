"""Whatever the bytes: an experiment or an ``InvalidFileError`` with its problems, and quickly. Never anything else."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drillbook.errors import InvalidFileError
from drillbook.experiments.load import Loaded, load

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SECONDS = 10.0
"""Of this process: a busy machine is not the loader's fault."""

words = st.sampled_from(
    [
        "title",
        "load",
        "method",
        "expect",
        "fault",
        "pod-kill",
        "process-hang",
        "for",
        "at",
        "goodput",
        "95%",
        "10s",
        "6/s",
        "-1",
        "1e400",
        "null",
        "~",
        "true",
        "[]",
        "{}",
        "&a",
        "*a",
        "!!python/name:os.system",
        "<<",
        "|",
        ">",
        "'",
        '"',
        "%",
        "always",
        "within",
        "{{7*7}}",
        "../../etc/passwd",
        "&a x",
        "goodput >= 95%",
        "\t",
        "\x00",
        "\u2028",
        "😀",
        "9" * 50,
        "a" * 300,
    ]
)
values = st.recursive(
    words | st.text(max_size=20) | st.integers() | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)


def outcome(path, data):
    path.write_bytes(data)
    began = time.process_time()
    found: Loaded | InvalidFileError
    try:
        found = load(path)
    except InvalidFileError as error:
        found = error
    assert time.process_time() - began < SECONDS
    if isinstance(found, InvalidFileError):
        assert found.problems
        assert all(problem.file == str(path) and problem.message and str(problem) for problem in found.problems)
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.yaml"


@pytest.fixture(autouse=True)
def _imports_are_not_timed(writing, path):
    assert isinstance(outcome(path, writing.text().encode()), Loaded)


@QUICK
@given(data=st.binary(max_size=300))
def test_any_bytes(path, data):
    assert isinstance(outcome(path, data), InvalidFileError)


@QUICK
@given(lines=st.lists(st.tuples(st.integers(0, 6), words, words), max_size=12))
def test_lines_that_look_like_yaml(path, lines):
    text = "\n".join(f"{' ' * indent}{key}: {value}" for indent, key, value in lines)
    outcome(path, text.encode("utf-8", "replace"))


@QUICK
@given(data=st.data())
def test_a_good_file_with_bytes_changed_cut_and_repeated(writing, path, data):
    good = bytearray(writing.text(more="abort-when: [goodput < 20% for 20s]\nbaseline: 10s").encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(good)))
        stop = min(len(good), start + data.draw(st.integers(0, 12)))
        good[start:stop] = data.draw(
            st.binary(max_size=6) | words.map(str.encode) | st.just(bytes(good[start:stop]) * 3)
        )
    outcome(path, bytes(good))


@QUICK
@given(
    key=st.sampled_from(["title", "target", "load", "steady-state", "method", "expect", "slo", "limits", "why"]),
    value=values,
)
def test_any_value_at_any_key(writing, path, key, value):
    import yaml

    data = yaml.safe_load(writing.text()) | {key: value}
    outcome(path, yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "replace"))


@QUICK
@given(
    step=st.dictionaries(st.sampled_from(["fault", "at", "for", "role", "count", "names", "grace", "bites"]), values)
)
def test_any_step(writing, path, step):
    import yaml

    data = yaml.safe_load(writing.text()) | {"method": [{"fault": "pod-kill"} | step]}
    outcome(path, yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "replace"))


@QUICK
@given(sentence=st.lists(words | st.text(max_size=6), max_size=8).map(" ".join))
def test_any_sentence_as_an_expectation(writing, path, sentence):
    import yaml

    data = yaml.safe_load(writing.text()) | {"expect": [sentence]}
    outcome(path, yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "replace"))


@pytest.mark.parametrize(
    "text",
    [
        "expect: ['" + " " * 9_000 + "']",
        "expect: ['" + "a." * 4_500 + "']",
        "expect: ['goodput " + ">" * 9_000 + "']",
        "expect: [" + "goodput, " * 9_000 + "]",
        "method: [" + "{fault: pod-kil}, " * 3_000 + "]",
        "load: {" + ", ".join(f"k{n}: 1" for n in range(4_000)) + "}",
        "title: " + "{a: " * 39 + "1" + "}" * 39,
    ],
    ids=["blanks", "a long name", "operators", "many sentences", "many steps", "many keys", "deep"],
)
def test_large_nonsense_is_refused_quickly(path, text):
    assert isinstance(outcome(path, text.encode()), InvalidFileError)
