"""The very words in which an experiment file's mistakes are told. A change here is a change that users read."""

from __future__ import annotations

import pytest

from drillbook.errors import InvalidFileError
from drillbook.experiments.load import load

GOLDEN = [
    (
        "a number for a text",
        {"title": "title: 3"},
        """
        x.yaml:1:8: 'title' wants a text, and this is 3, a number
            1 | title: 3
              |        ^
            put it in quotes: '3'
        """,
    ),
    (
        "a required key is missing",
        {"load": ""},
        """
        x.yaml:1:1: 'load' is missing
            for example: load: {rate: 6/s}
        """,
    ),
    (
        "an unknown key that is nearly a known one",
        {"steady_state": "steady_state: [goodput >= 95%]\nsteady-state: [goodput >= 95%]"},
        """
        x.yaml:4:1: 'steady_state' is no key here
            4 | steady_state: [goodput >= 95%]
              | ^^^^^^^^^^^^
            did you mean 'steady-state'?
        """,
    ),
    (
        "an unknown key that is like none",
        {"target": "target: {colour: red}"},
        """
        x.yaml:2:10: 'colour' is no key here
            2 | target: {colour: red}
              |          ^^^^^^
            allowed: alertmanager, context, endpoint, helper, model, namespace, prometheus, rollback, sandbox, \
selectors, stack
        """,
    ),
    (
        "a rate without its unit",
        {"load": "load: {rate: 6}"},
        """
        x.yaml:3:14: 'rate': a rate is written with its unit, for example 6/s
            3 | load: {rate: 6}
              |              ^
            write 6/s, if that is what is meant
        """,
    ),
    (
        "a duration without its unit",
        {"more": "baseline: 10"},
        """
        x.yaml:8:11: 'baseline': a duration is written with its unit, for example 800ms, 5s, 2m
            8 | baseline: 10
              |           ^^
            write 10s, if that is what is meant
        """,
    ),
    (
        "an unknown unit",
        {"more": "baseline: 10 nights"},
        """
x.yaml:8:11: 'baseline': unknown unit 'nights' in '10 nights'; the units are us, ms, s, m, min, h, %, /s, /min, /m, /h
    8 | baseline: 10 nights
      |           ^^^^^^^^^
        """,
    ),
    (
        "a quantity of the wrong dimension",
        {"more": "settle: 5%"},
        """
        x.yaml:8:9: 'settle': '5%' is a share, and a duration is wanted here (for example 800ms, 5s, 2m)
            8 | settle: 5%
              |         ^^
        """,
    ),
    (
        "yes for true",
        {"load": "load: {rate: 6/s, stream: yes}"},
        """
        x.yaml:3:27: 'stream' wants true or false, and this is 'yes', a text
            3 | load: {rate: 6/s, stream: yes}
              |                           ^^^
            yes, no, on and off are plain words in YAML 1.2
        """,
    ),
    (
        "a number in quotes",
        {"load": "load: {rate: 6/s, output-tokens: '48'}"},
        """
        x.yaml:3:34: 'output-tokens' wants a whole number, and this is '48', a text
            3 | load: {rate: 6/s, output-tokens: '48'}
              |                                  ^^^^
            take the quotes away
        """,
    ),
    (
        "a number out of bounds",
        {"load": "load: {rate: 6/s, output-tokens: 0}"},
        """
        x.yaml:3:34: 'output-tokens' must be at least 1, and 0 is not
            3 | load: {rate: 6/s, output-tokens: 0}
              |                                  ^
        """,
    ),
    (
        "a word that is none of the allowed",
        {"load": "load: {rate: 6/s, arrivals: poison}"},
        """
        x.yaml:3:29: 'arrivals' cannot be 'poison'
            3 | load: {rate: 6/s, arrivals: poison}
              |                             ^^^^^^
            did you mean 'poisson'?
        """,
    ),
    (
        "a sentence where a list is wanted",
        {"steady_state": "steady-state: goodput >= 95%"},
        """
        x.yaml:4:15: 'steady-state' wants a list, and this is 'goodput >= 95%', a text
            4 | steady-state: goodput >= 95%
              |               ^^^^^^^^^^^^^^
            a list of one is written [goodput >= 95%], or on its own line after '- '
        """,
    ),
    (
        "nothing where a list is wanted",
        {"expect": "expect:"},
        """
        x.yaml:7:1: 'expect' is empty, and a list is wanted
            7 | expect:
              | ^^^^^^
        """,
    ),
    (
        "an empty list",
        {"expect": "expect: []"},
        """
        x.yaml:7:1: 'expect' is empty
            7 | expect: []
              | ^^^^^^
            for example: expect: [recovered within 90s of inject]
        """,
    ),
    (
        "a list where a mapping is wanted",
        {"load": "load: [6/s]"},
        """
        x.yaml:3:7: 'load' wants a mapping of keys and values, and this is a list
            3 | load: [6/s]
              |       ^^^^^
        """,
    ),
    (
        "an unknown fault",
        {"method": "method: [{fault: podkill}]"},
        """
        x.yaml:5:18: no fault is called 'podkill'
            5 | method: [{fault: podkill}]
              |                  ^^^^^^^
            did you mean 'pod-kill' or 'process-kill'?
        """,
    ),
    (
        "a step that is a mere word",
        {"method": "method: [pod-kill]"},
        """
        x.yaml:5:10: step 1 wants a mapping of keys and values, and this is 'pod-kill', a text
            5 | method: [pod-kill]
              |          ^^^^^^^^
        """,
    ),
    (
        "a key of another fault",
        {"method": "method: [{fault: pod-kill, process: vllm}]"},
        """
        x.yaml:5:28: 'process' is no key here
            5 | method: [{fault: pod-kill, process: vllm}]
              |                            ^^^^^^^
            allowed: at, bites, count, fault, for, force, grace, names, role
        """,
    ),
    (
        "neither of two types",
        {"method": "method: [{fault: pod-kill, count: 1.5}]"},
        """
        x.yaml:5:35: 'count' of step 1 wants a whole number or 'all', and this is 1.5, a number
            5 | method: [{fault: pod-kill, count: 1.5}]
              |                                   ^^^
        """,
    ),
    (
        "a fault's own rule",
        {"method": "method: [{fault: pod-kill, grace: 5s, force: true}]"},
        """
        x.yaml:5:10: step 1: force means a grace of 0s: leave one of the two out
            5 | method: [{fault: pod-kill, grace: 5s, force: true}]
              |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        """,
    ),
    (
        "a name that Kubernetes would not take",
        {"target": "target: {namespace: LLM}"},
        """
        x.yaml:2:21: 'namespace' cannot be 'LLM'
            2 | target: {namespace: LLM}
              |                     ^^^
            allowed: lower-case letters, digits, '-' and '.', 63 characters at most
        """,
    ),
    (
        "an unknown probe",
        {"expect": "expect:\n  - recoverd within 90s of inject"},
        """
        x.yaml:8:5: no probe is called 'recoverd'
            8 |   - recoverd within 90s of inject
              |     ^^^^^^^^
            did you mean 'recovered' or 'time-to-recover'?
        """,
    ),
    (
        "a value without its dimension",
        {"expect": "expect:\n  - ttft.p95 < 800"},
        """
        x.yaml:8:16: '800' is a count, and a duration is wanted here (for example 800ms, 5s, 2m)
            8 |   - ttft.p95 < 800
              |                ^^^
            ttft.p95 is a duration: 800ms, 5s, 2m
        """,
    ),
    (
        "an error in the middle of a folded sentence",
        {"expect": "expect:\n  - >\n    goodput\n    = 95%"},
        """
        x.yaml:10:5: '=' compares nothing
            10 |     = 95%
               |     ^
            write '=='
        """,
    ),
    (
        "an expectation in its YAML form",
        {"expect": "expect: [{always: goodput, is: '>= 95%', during: obsrve}]"},
        """
        x.yaml:7:50: no phase is called 'obsrve'
            7 | expect: [{always: goodput, is: '>= 95%', during: obsrve}]
              |                                                  ^^^^^^
            did you mean 'observe'?
        """,
    ),
    (
        "an expectation that is no text",
        {"expect": "expect: [7]"},
        """
        x.yaml:7:10: item 1 of 'expect' wants a sentence such as 'goodput >= 95%', and this is 7, a number
            7 | expect: [7]
              |          ^
        """,
    ),
    (
        "an unknown stack",
        {"target": "target: {stack: production-stak}"},
        """
        x.yaml:2:17: no stack is called 'production-stak'
            2 | target: {stack: production-stak}
              |                 ^^^^^^^^^^^^^^^
            did you mean 'production-stack'?
        """,
    ),
    (
        "a prompt file outside the folder",
        {"load": "load: {rate: 6/s, prompts: ../../etc/passwd.jsonl}"},
        """
        x.yaml:3:28: the prompts '../../etc/passwd.jsonl' lie outside the experiment's folder
            3 | load: {rate: 6/s, prompts: ../../etc/passwd.jsonl}
              |                            ^^^^^^^^^^^^^^^^^^^^^^
            a prompt file lies in the experiment's folder or below
        """,
    ),
    (
        "a fault that cannot be held",
        {"method": "method: [{fault: pod-kill, for: 20s}]"},
        """
        x.yaml:5:33: the fault 'pod-kill' cannot be held
            5 | method: [{fault: pod-kill, for: 20s}]
              |                                 ^^^
            leave 'for' out; 'pod-kill' is done in a moment, and what it hit has to come back by itself
        """,
    ),
]


@pytest.mark.parametrize(("parts", "told"), [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN])
def test_a_mistake_is_told_in_these_words(writing, tmp_path, monkeypatch, parts, told):
    import inspect

    monkeypatch.chdir(tmp_path)
    path = writing.write(tmp_path, **parts).relative_to(tmp_path)
    with pytest.raises(InvalidFileError) as caught:
        load(path)
    assert "\n".join(map(str, caught.value.problems)) == inspect.cleandoc(told).rstrip()


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_their_lines(writing, tmp_path):
    path = writing.write(
        tmp_path,
        title="title: 3",
        target="target: {stack: nope, namespace: llm}",
        load="load: {rate: 6, prompts: chit}",
        expect="expect: [recoverd, ttft.p95 < 800]",
        more="extra: 1\nextra: 2",
    )
    with pytest.raises(InvalidFileError) as caught:
        load(path)
    places = [(problem.line, problem.column) for problem in caught.value.problems]
    assert len(places) == 8
    assert places == sorted(places)


def test_hundreds_of_mistakes_are_told_up_to_a_hundred(writing, tmp_path):
    path = writing.write(tmp_path, more="\n".join(f"key{n}: 1" for n in range(400)))
    with pytest.raises(InvalidFileError) as caught:
        load(path)
    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1].message == "... and 300 more problems"
