"""What is wrong with an experiment is told with its place, before anything of it is executed."""

from __future__ import annotations

import contextlib
import json

import pytest

from drillbook.chaostoolkit.load import is_chaos_toolkit, load, must_be_trusted
from drillbook.errors import InvalidFileError
from drillbook.site import UntrustedError, trust_file

PROBE = {
    "type": "probe",
    "name": "up",
    "tolerance": 200,
    "provider": {"type": "http", "url": "http://127.0.0.1:1/health"},
}
GOOD = {
    "title": "T",
    "description": "D",
    "tags": ["a"],
    "contributions": {"reliability": "high"},
    "configuration": {"url": {"type": "env", "key": "URL", "default": "x"}, "n": 3},
    "secrets": {"k8s": {"token": {"type": "env", "key": "TOKEN"}}},
    "steady-state-hypothesis": {"title": "H", "probes": [PROBE]},
    "method": [
        {"ref": "up"},
        {
            "type": "action",
            "name": "break",
            "background": True,
            "pauses": {"before": 1, "after": "${n}"},
            "provider": {"type": "process", "path": "true", "arguments": "-x", "timeout": 3},
        },
    ],
    "rollbacks": [{"type": "action", "name": "mend", "provider": {"type": "python", "module": "m", "func": "f"}}],
    "runtime": {"rollbacks": {"strategy": "always"}, "hypothesis": {"strategy": "continuously"}},
    "x-mine": 1,
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setenv("DRILLBOOK_HOME", str(tmp_path / "home"))

    def write(data, name="x.json", indent=2):
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data, indent=indent))
        return path

    return write


def told(path):
    with pytest.raises(InvalidFileError) as caught:
        load(path)
    return "\n".join(map(str, caught.value.problems))


def test_a_whole_experiment_is_taken_as_it_is(write):
    assert load(write(GOOD)).data == GOOD


def test_json_may_be_indented_with_tabs(write):
    assert load(write(GOOD, indent="\t")).data == GOOD


def test_yaml_is_told_apart_from_drillbook_s_own_experiments(write):
    own = "title: x\nload: {rate: 6/s}\nmethod: [{fault: pod-kill}]\nexpect: [recovered]\n"
    theirs = "title: x\ndescription: y\nmethod:\n- {type: action, name: a, provider: {type: process, path: 'true'}}\n"
    assert not is_chaos_toolkit(write(own, "own.yaml"))
    assert is_chaos_toolkit(write(theirs, "theirs.yaml"))
    assert load(write(theirs, "theirs.yaml")).executes == ["true"]


def changed(**keys):
    return {**GOOD, **keys}


def with_probe(**keys):
    return changed(**{"steady-state-hypothesis": {"title": "H", "probes": [{**PROBE, **keys}]}, "method": []})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(metod=[]), "'metod' is no key here"),
        ({key: value for key, value in GOOD.items() if key != "title"}, "'title' is missing"),
        ({key: value for key, value in GOOD.items() if key != "method"}, "'method' is missing"),
        (changed(method=[{"ref": "upp"}]), "no activity is called 'upp'"),
        (changed(method=[{"type": "prob", "name": "x", "provider": PROBE["provider"]}]), "did you mean 'probe'?"),
        (changed(method=[{"type": "action", "name": "x"}]), "'provider' is missing"),
        (with_probe(tolerance=1.5), "a bare float is no tolerance"),
        (with_probe(tolerance={"type": "range", "range": [5, 1]}), "nothing lies between 5 and 1"),
        (with_probe(tolerance={"type": "range", "range": ["a", 1]}), "a range is two numbers"),
        (with_probe(tolerance={"type": "regex", "pattern": "("}), "this pattern cannot be read"),
        (with_probe(tolerance={"type": "jsonpath", "path": "$["}), "this path cannot be read"),
        (with_probe(tolerance={"type": "rnge", "range": [1, 2]}), "did you mean 'range' or 'regex'?"),
        (with_probe(provider={"type": "htp", "url": "x"}), "did you mean 'http'?"),
        (with_probe(provider={"type": "http"}), "'url' is missing"),
        (with_probe(provider={"type": "http", "url": "x", "tiemout": 3}), "did you mean 'timeout'?"),
        (with_probe(background="yes"), "true or false is wanted here"),
        (with_probe(pauses={"before": "long"}), "a number of seconds"),
        (changed(secrets={"s": {"k": {"type": "vault", "path": "a"}}}), "secrets are not fetched from Vault"),
        (changed(configuration={"c": {"type": "env"}}), "'key' is missing"),
        (changed(runtime={"rollbacks": {"strategy": "nevr"}}), "did you mean 'never'?"),
        (changed(runtime={"python": {"isolated": True}}), "drillbook's own environment"),
        (changed(controls=[{"name": "c", "provider": {"type": "python"}}]), "'module' is missing"),
        (changed(controls=[{"name": "c", "scop": "before", "provider": {"type": "python", "module": "m"}}]), "'scope'"),
        (changed(dry="everything"), "'everything' is not known here"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_line_and_what_was_meant(write, data, message):
    problems = told(write(data))
    assert message in problems
    assert "x.json:" in problems


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"title": {"a": {}}, "method": {"a": 1}}', '{"method": [1]}'])
def test_nonsense_is_told_and_never_a_traceback(write, text):
    assert told(write(text))


@pytest.mark.parametrize("key", list(GOOD))
@pytest.mark.parametrize("nonsense", [None, 1, "x", [1], {"a": 1}, [[]], [{}], {"a": {"type": "probe"}}], ids=str)
def test_any_key_may_hold_nonsense(write, key, nonsense):
    path = write(changed(**{key: nonsense}))
    with contextlib.suppress(InvalidFileError):
        load(path)


def test_http_alone_needs_no_trust(write):
    must_be_trusted(load(write(changed(method=[], rollbacks=[]))))


def test_what_executes_programs_must_be_trusted_with_this_very_content(write):
    path = write(GOOD)
    with pytest.raises(UntrustedError, match=r"is not trusted yet, and it executes true, m\.f") as caught:
        must_be_trusted(load(path))
    assert f"drillbook trust {path}" in caught.value.hint
    trust_file(path)
    must_be_trusted(load(path))
    write(changed(title="Another"))
    with pytest.raises(UntrustedError, match="has changed since it was trusted"):
        must_be_trusted(load(path))
