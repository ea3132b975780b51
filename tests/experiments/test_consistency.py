"""What every key allows by itself and the file as a whole does not."""

from __future__ import annotations

import pytest

from drillbook.errors import InvalidFileError
from drillbook.experiments.load import load

WRONG = [
    (
        "the same step twice",
        {"method": "method: [{fault: pod-kill}, {fault: pod-kill}]"},
        "5:29: step 2 is the same as step 1",
    ),
    (
        "held past the end",
        {"method": "method: [{fault: process-hang, for: 5m}]"},
        "5:37: this fault would be held until 5m 0s",
    ),
    (
        "held for nothing",
        {"method": "method: [{fault: process-hang, for: 0s}]"},
        "5:37: a fault that is held for no time",
    ),
    (
        "names and count",
        {"method": "method: [{fault: pod-kill, names: [a], count: 1}]"},
        "5:47: 'names' already says which",
    ),
    ("a pod named twice", {"method": "method: [{fault: pod-kill, names: [a, a]}]"}, "5:35: a pod is named twice"),
    ("no pods", {"method": "method: [{fault: pod-kill, count: 0}]"}, "5:35: 0 pods cannot be hit"),
    (
        "an unknown role",
        {"method": "method: [{fault: pod-kill, role: enigne}]"},
        "5:34: no role is called 'enigne' in the stack",
    ),
    ("a day of drill", {"more": "observe: 48h"}, "1:1: the run would last 48h 0m, and a day is the most"),
    ("a deadline after the end", {"expect": "expect: [recovered within 10m]"}, "7:10: within 10m 0s cannot be seen"),
    ("no requests", {"load": "load: {rate: 0/s}"}, "3:14: without requests nothing can be measured"),
    ("too few requests", {"load": "load: {rate: 1/min}"}, "3:14: about 0.2 requests in the baseline"),
    ("a short baseline", {"more": "baseline: 100ms"}, "8:11: about 0.6 requests in the baseline"),
    (
        "never hung",
        {"load": "load: {rate: 6/s, timeout: 5s}"},
        "3:28: a request is given up after 5s, before it can count",
    ),
    ("said twice", {"expect": "expect: [goodput > 5%, goodput > 5%]"}, "7:24: the same is said in item 1"),
    ("more than all", {"expect": "expect: [goodput > 950%]"}, "7:10: goodput is a share, and 950% is more than all"),
    (
        "a deadline in the steady state",
        {"steady_state": "steady-state: [goodput > 5% within 9s]"},
        "4:16: a steady state holds over its",
    ),
    (
        "a phase in the steady state",
        {"steady_state": "steady-state: [goodput > 5% during undo]"},
        "4:16: a steady state holds",
    ),
    ("an event as steady state", {"steady_state": "steady-state: [recovered]"}, "4:16: recovered is an event"),
    (
        "an eventual abort",
        {"more": "abort-when: [eventually goodput < 5%]"},
        "8:14: an abort condition takes no 'eventually'",
    ),
    (
        "an undo that never comes",
        {"expect": "expect: [recovered within 9s of undo]"},
        "7:10: no fault of this method has an undo",
    ),
    (
        "a bite beyond measure",
        {"method": "method: [{fault: pod-kill, bites: goodput < 120%}]"},
        "5:35: goodput is a share",
    ),
    ("an unknown playbook", {"more": "playbook: ../../etc/passwd"}, "8:11: no playbook is called '../../etc/passwd'"),
    (
        "no such prompt file",
        {"load": "load: {rate: 6/s, prompts: mine.jsonl}"},
        "3:28: the prompts 'mine.jsonl' are no file",
    ),
    (
        "a policy that nobody declared",
        {"expect": "expect: [rolled-back-as-declared within 30s of inject]"},
        "7:10: rolled-back-as-declared asks for what the target declares",
    ),
    (
        "sessions that there are none of",
        {"expect": "expect: [session-losses <= 1]"},
        "7:10: nothing is known of session-losses where the load has no sessions",
    ),
    (
        "a header for no sessions",
        {"load": "load: {rate: 6/s, session-header: x-user-id}"},
        "3:35: there are no sessions for this header to name",
    ),
]


@pytest.mark.parametrize(("parts", "told"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_cannot_work_together_is_found_before_a_run(writing, tmp_path, parts, told):
    with pytest.raises(InvalidFileError) as caught:
        load(writing.write(tmp_path, **parts))
    assert [str(problem).rpartition("x.yaml:")[2][: len(told)] for problem in caught.value.problems] == [told]


def test_a_good_file_is_loaded_with_its_text_and_its_digest(writing, tmp_path):
    import hashlib

    path = writing.write(tmp_path)
    loaded = load(path)
    assert loaded.experiment.method[0].fault == "pod-kill"
    assert loaded.source == path.read_text()
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.path == path


def test_what_was_loaded_and_is_written_back_loads_the_same(writing, tmp_path):
    import yaml

    path = writing.write(tmp_path, method="method: [{fault: process-hang, for: 1.5s, at: 100ms, bites: goodput < 50%}]")
    first = load(path).experiment
    path.write_text(yaml.safe_dump(first.model_dump(mode="json", by_alias=True, exclude_none=True)))
    assert load(path).experiment == first


def test_a_prompt_file_beside_the_experiment_is_taken_and_a_link_out_of_the_folder_is_not(writing, tmp_path):
    folder = tmp_path / "drills"
    folder.mkdir()
    (folder / "mine.jsonl").write_text('{"prompt": "hello"}\n')
    load(writing.write(folder, load="load: {rate: 6/s, prompts: mine.jsonl}"))
    (tmp_path / "theirs.jsonl").write_text('{"prompt": "secret"}\n')
    (folder / "mine.jsonl").unlink()
    (folder / "mine.jsonl").symlink_to(tmp_path / "theirs.jsonl")
    with pytest.raises(InvalidFileError) as caught:
        load(writing.write(folder, load="load: {rate: 6/s, prompts: mine.jsonl}"))
    assert "lie outside the experiment's folder" in caught.value.problems[0].message


def test_a_probe_that_the_folder_declares_is_known_and_never_executed(writing, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "queue.py").write_text(
        "raise SystemExit('executed')\n\n@probe('queue-length', dimension='count')\nasync def f(target): ...\n"
    )
    path = writing.write(tmp_path / "experiments", expect="expect: [queue-length < 5]")
    assert load(path).experiment.expect[0].probe == "queue-length"


def test_extra_probes_are_known_too(writing, tmp_path):
    from drillbook.model.units import Dimension

    path = writing.write(tmp_path, expect="expect: [my-probe < 5s]")
    assert load(path, extra_probes={"my-probe": Dimension.DURATION}).experiment.expect[0].value == 5
