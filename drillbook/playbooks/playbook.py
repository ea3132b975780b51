"""A playbook file, as pydantic reads it. Texts are Jinja2 templates over the names of ``PLACEHOLDERS``."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from drillbook.model.experiment import FileModel, Label

PLACEHOLDERS = {
    "namespace": "the namespace of the deployment",
    "deployment": "the Deployment of the engines",
    "pod": "the pod that was hit, or the first to suspect",
    "container": "the engine's container in it",
    "node": "the node of that pod",
    "router": "the Deployment of the router",
    "endpoint": "base URL that users talk to",
    "model": "name of the served model",
    "selector": "label selector of the engine pods",
    "one_more": "as many replicas as are desired, and one",
}
"""What a text may name. What a run does not know stays visible as ``<name>``."""

Text = Annotated[str, Field(min_length=1)]


class Expected(enum.StrEnum):
    """What a signal does in this failure mode."""

    TURNS = "turns"
    STAYS_GREEN = "stays-green"


class Watch(enum.StrEnum):
    """Where a run's journal tells what the signal did."""

    USERS = "users"
    ENDPOINT_HEALTH = "endpoint-health"
    ENGINE_HEALTH = "engine-health"
    READINESS = "readiness"
    ALERT = "alert"
    HEARTBEAT = "heartbeat"
    NOT_WATCHED = "not-watched"
    """Drills do not watch it (yet): an operator looks at it by hand."""


class Severity(FileModel):
    level: Text
    when: Text


class SignalEntry(FileModel):
    """One thing to look at. ``query`` is PromQL, ``command`` a shell command; at least the ``symptom`` is said."""

    name: Text
    expect: Expected
    symptom: Text
    watch: Watch = Watch.NOT_WATCHED
    query: str = ""
    command: str = ""


class TriageStep(FileModel):
    """One question. The answers say what to do next, or which question (by ``id``) comes next."""

    id: Label
    question: Text
    query: str = ""
    command: str = ""
    yes: Text
    no: Text


class Action(FileModel):
    name: Text
    command: Text
    expected: Text
    """What its success looks like."""
    risk: str = ""


class Rollback(FileModel):
    trigger: Text
    command: str = ""


class Check(FileModel):
    name: Text
    query: str = ""
    command: str = ""
    expected: Text


class Role(FileModel):
    role: Text
    duty: Text
    page: str = ""
    """When to page, where not at once."""


class Message(FileModel):
    audience: Text
    text: Text


class Evidence(FileModel):
    what: Text
    command: str = ""
    why: Text


class Playbook(FileModel):
    """One failure mode, from the first signal to the last message."""

    id: Label
    title: Text
    failure_mode: Text
    preconditions: tuple[Text, ...] = ()
    severity: tuple[Severity, ...] = Field(min_length=1)
    signals: tuple[SignalEntry, ...] = Field(min_length=1)
    triage: tuple[TriageStep, ...] = Field(min_length=1)
    mitigation: tuple[Action, ...] = Field(min_length=1)
    rollback: Rollback
    verification: tuple[Check, ...] = Field(min_length=1)
    escalation: tuple[Role, ...] = Field(min_length=1)
    communication: tuple[Message, ...] = Field(min_length=1)
    evidence: tuple[Evidence, ...] = Field(min_length=1)
    gaps: tuple[Text, ...] = ()
