"""The rollbacks: played on every exit, all of them, whatever one of them does."""

from __future__ import annotations

import asyncio

from drillbook.chaostoolkit.controls import InterruptedByControl
from drillbook.chaostoolkit.load import Json
from drillbook.chaostoolkit.performer import Performer


def why_not(journal: Json, strategy: str) -> str:
    """Why the rollbacks are not played; empty where they are. Only the experiment itself can say ``never``."""
    experiment = journal["experiment"]
    if not experiment.get("rollbacks"):
        return "the experiment has none"
    if strategy == "never":
        return "the experiment says so (runtime.rollbacks.strategy: never); what it changed is still in place"
    if strategy != "always" and not journal["run"]:
        return "the method was never begun, so there is nothing to put back"
    whole = journal["status"] == "completed" and not any(item["status"] != "succeeded" for item in journal["run"])
    if strategy == "deviated" and whole and not journal["deviated"]:
        return "the experiment wants them only after a deviation, and nothing deviated"
    return ""


async def play(performer: Performer) -> None:
    """Play all that have not succeeded yet, in their order; the failure of one does not keep the next from it."""
    journal = performer.journal
    journal.durable = False
    done: list[Json] = journal.data["rollbacks"]
    data = performer.data
    succeeded = {item["activity"].get("name") for item in done if item["status"] == "succeeded"}
    await _controlled(performer, "before", None)
    background = []
    for activity in data["rollbacks"]:
        if performer.resolve(activity).get("name") in succeeded:
            continue
        if activity.get("background"):
            background.append(asyncio.create_task(_one(performer, activity, done)))
        else:
            await _one(performer, activity, done)
    await asyncio.gather(*background)
    await _controlled(performer, "after", done)
    journal.save()


async def _one(performer: Performer, activity: Json, done: list[Json]) -> None:
    try:
        await performer.perform(activity, done)
    except InterruptedByControl as error:
        performer.journal.note(f"{error}; the rollbacks went on")
        begun = any(item["activity"].get("name") == activity.get("name") for item in done)
        if not begun:  # a guard may not stand between a fault and its undo
            await performer.without_controls().perform(activity, done)


async def _controlled(performer: Performer, scope: str, state: list[Json] | None) -> None:
    try:
        await performer.controls.apply(scope, "rollback", performer.data, state, performer.variables)
    except InterruptedByControl as error:
        performer.journal.note(f"{error}; the rollbacks went on")
