from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from drillbook.playbooks.fill import Filled, filled
from drillbook.playbooks.incident import Incident, Interval, SignalSeen
from drillbook.playbooks.load import load
from drillbook.playbooks.playbook import Playbook
from drillbook.playbooks.texts import Language, fill

NAMES = {
    "namespace": "llm",
    "deployment": "vllm",
    "pod": "vllm-7c9f6d-2x8kq",
    "container": "vllm",
    "node": "gpu-node-0",
    "router": "vllm-router",
    "endpoint": "http://10.0.0.1:8000",
    "model": "tiny-llama",
    "selector": "app=vllm,component in (engine,decode)",
    "one_more": "4",
}


def incident(**changes: object) -> Incident:
    values = {
        "run_id": "r1", "experiment": "engine-hang.yaml", "tested": "2026-11-18T11:06:22Z", "target": "sandbox",
        "simulated": True, "verdict": "refuted", "reason": "green", "fault": "SIGSTOP", "versions": {"vllm": "0.32"},
        "names": NAMES, "victims": (NAMES["pod"],), "harmed_after": 0.1, "broken": 20.0, "green_while_broken": 20.0,
        "requests": 473, "bad": 47, "hidden": 47, "tokens_lost": 2189,
        "times": (Interval(name="TTD", meaning="time to detect", seconds=None, why="never"),), "legs": (),
        "signals": (
            SignalSeen(name="endpoint /health", kind="health", turned=None, green_while_broken=20.0),
            SignalSeen(name=f"{NAMES['pod']} /health", kind="health", turned=None, green_while_broken=20.0),
            SignalSeen(name="other-pod /health", kind="health", turned=3.0, green_while_broken=2.0),
            SignalSeen(name="token heartbeat", kind="heartbeat", turned=5.5, green_while_broken=5.4),
        ),
        "backlog": (),
    }  # fmt: skip
    return Incident(**(values | changes))


@pytest.fixture(scope="module")
def hang() -> Playbook:
    return load(Path(__file__).resolve().parents[2] / "playbooks" / "engine-hang.yaml")


@pytest.fixture(scope="module")
def book(hang: Playbook) -> Filled:
    return filled(hang, incident())


def test_titles_and_texts_carry_the_real_names(book: Filled) -> None:
    assert book.title == "tiny-llama on vllm-7c9f6d-2x8kq: the engine hangs and its health is green"
    assert any("gpu-node-0" in text for role in book.escalation for _, text in role.notes)


def test_commands_carry_the_real_names_as_single_words(book: Filled) -> None:
    command = book.mitigation[0].command
    assert shlex.split(command) == [
        "kubectl", "--namespace", "llm", "delete", "pod", "vllm-7c9f6d-2x8kq", "--grace-period=0", "--force",
    ]  # fmt: skip
    selected = next(signal for signal in book.signals if "--selector" in signal.command)
    assert NAMES["selector"] in shlex.split(selected.command)


@pytest.mark.parametrize("name", ["engine-hang", "engine-crash", "replica-down"])
def test_no_name_from_a_cluster_becomes_shell(name: str) -> None:
    playbook = load(Path(__file__).resolve().parents[2] / "playbooks" / f"{name}.yaml")
    evil = "x; touch /tmp/pwned $(id) `id` 'q' \"q\""
    book = filled(playbook, incident(names=dict.fromkeys(NAMES, evil)))
    steps = [*book.triage, *book.mitigation, book.rollback, *book.verification, *book.evidence, *book.signals]
    commands = [step.command for step in steps if step.command]
    assert commands
    for command in commands:
        words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
        assert ";" not in words
        assert "touch" not in words


def test_no_name_from_a_cluster_becomes_promql() -> None:
    assert fill('up{pod="{{ pod }}"}', {"pod": 'a"} or vector(1) #\\'}, Language.PROMQL) == (
        'up{pod="a\\"} or vector(1) #\\\\"}'
    )


def test_what_a_run_does_not_know_stays_visible() -> None:
    assert fill("kubectl get pod {{ pod }}", {}, Language.SHELL) == "kubectl get pod '<pod>'"
    assert fill("look at {{ pod }}", {"pod": ""}, Language.PROSE) == "look at <pod>"


def test_a_signal_that_stayed_green_as_expected_is_no_surprise(book: Filled) -> None:
    health = next(signal for signal in book.signals if signal.name == "Endpoint health")
    assert "stayed green, for 20s while users were failing" in health.seen
    assert not health.surprise


def test_only_the_victims_health_counts_as_the_engines(book: Filled) -> None:
    health = next(signal for signal in book.signals if signal.name == "Health of the hung engine")
    assert health.seen.startswith("vllm-7c9f6d-2x8kq /health stayed green")


def test_the_heartbeat_tells_when_it_would_have_turned(book: Filled) -> None:
    beat = next(signal for signal in book.signals if signal.name == "Heartbeat of tokens")
    assert beat.seen == "token heartbeat turned 5.5s after the injection"


def test_a_signal_that_did_what_nobody_expects_is_a_surprise(hang: Playbook) -> None:
    told = incident(signals=(SignalSeen(name="endpoint /health", kind="health", turned=2.0, green_while_broken=0.0),))
    health = next(signal for signal in filled(hang, told).signals if signal.name == "Endpoint health")
    assert health.seen == "endpoint /health turned 2s after the injection"
    assert health.surprise


def test_what_was_not_watched_is_said_and_surprises_nobody(hang: Playbook) -> None:
    found = {signal.name: signal for signal in filled(hang, incident(signals=())).signals}
    assert found["Endpoint health"].seen == "not watched in this run"
    assert not any(signal.surprise for name, signal in found.items() if name != "Users wait for a first token")


def test_missed_signals_are_named_with_how_long(book: Filled) -> None:
    assert book.missed == ("endpoint /health (20s)", "vllm-7c9f6d-2x8kq /health (20s)")
