"""Performs activities, one at a time or in the background, with their pauses and controls; the journal comes first."""

from __future__ import annotations

import asyncio
from typing import Any

from drillbook import clock
from drillbook.chaostoolkit.controls import Controls
from drillbook.chaostoolkit.journal import Journal, now
from drillbook.chaostoolkit.load import Json
from drillbook.chaostoolkit.providers import http, process, python
from drillbook.chaostoolkit.providers.error import ActivityError
from drillbook.chaostoolkit.substitution import Variables
from drillbook.chaostoolkit.threads import Threads

_DRY = {"actions": ("action",), "probes": ("probe",), "activities": ("action", "probe")}


class Performer:
    """Everything that activities need of one run."""

    def __init__(
        self, data: Json, variables: Variables, journal: Journal, controls: Controls, threads: Threads
    ) -> None:
        self.data, self.variables, self.journal = data, variables, journal
        self.controls, self.threads = controls, threads
        hypothesis = data.get("steady-state-hypothesis") or {}
        named = [*data["method"], *(hypothesis.get("probes") or ())]
        self._named = {activity["name"]: activity for activity in named if "name" in activity}

    def resolve(self, activity: Json) -> Json:
        """The activity itself, or the one that its ``ref`` names."""
        return self._named[activity["ref"]] if "ref" in activity else activity

    async def perform(self, activity: Json, records: list[Json]) -> Json:
        """Perform one activity. Its record is appended before it begins; a failure is in the record and never raised.

        Raises:
            InterruptedByControl: a control ends the run.

        """
        activity = self.resolve(activity)
        async with self.controls.around("activity", activity, self.variables) as state:
            dry = activity.get("dry") or self.data.get("dry")
            skipped = activity["type"] in _DRY.get(str(dry), ())
            pauses = self.variables.fill(activity.get("pauses") or {})
            waits = not skipped and dry != "pause"
            if waits:
                await asyncio.sleep(float(pauses.get("before") or 0))
            record: Json = {"activity": dict(activity), "output": None, "start": now(), "status": "aborted"}
            records.append(record)
            state.append(record)
            began = clock.monotonic()
            await self.controls.tell("start_activity", activity)
            try:
                if skipped:
                    record["dry"] = True
                else:
                    self._write_ahead(activity)
                    record["output"] = await self.act(activity)
                    _refuse_failure(activity, record["output"])
                record["status"] = "succeeded"
            except ActivityError as error:
                record |= _failure(error)
            finally:
                record |= {"end": now(), "duration": round(clock.monotonic() - began, 6)}
                self.journal.save()
            await self.controls.tell("activity_completed", activity, record)
            if waits:
                await asyncio.sleep(float(pauses.get("after") or 0))
        return record

    def without_controls(self) -> Performer:
        """The same, with nobody who could interrupt it."""
        bare = Controls({"method": []}, self.threads, self.journal.note)
        return _Bare(self.data, self.variables, self.journal, bare, self.threads)

    async def act(self, activity: Json) -> Any:
        """As the function ``act``, with the run's variables."""
        return await act(activity, self.variables, self.threads)

    def _write_ahead(self, activity: Json) -> None:
        """An action that was begun is on the disk as ``aborted`` until it has ended."""
        if activity["type"] == "action":
            self.journal.save()


class _Bare(Performer):
    """Performs activities without the controls that they name themselves."""

    def resolve(self, activity: Json) -> Json:
        return {key: value for key, value in super().resolve(activity).items() if key != "controls"}


async def act(activity: Json, variables: Variables, threads: Threads) -> Any:
    """Do what the activity's provider says.

    Raises:
        ActivityError: it failed.

    """
    provider = dict(activity["provider"])
    seconds = [limit for limit in (activity.get("timeout"), provider.get("timeout")) if limit is not None]
    if seconds:
        provider["timeout"] = seconds[0]
    match provider["type"]:
        case "http":
            return await http.run(provider, variables)
        case "process":
            return await process.run(provider, variables)
    return await python.run(provider, variables, threads, kind=activity["type"])


def _refuse_failure(activity: Json, output: Any) -> None:
    """An action whose process or request was refused has not acted, though chaoslib calls that a success.

    Raises:
        ActivityError: it was.

    """
    kind = activity["provider"]["type"]
    if activity["type"] != "action" or kind == "python" or not isinstance(output, dict):
        return
    status = output["status"]
    if kind == "process" and status != 0:
        said = (output["stderr"] or output["stdout"]).strip()[-300:]
        raise ActivityError(f"the program ended with {status}{f': {said}' if said else ''}")
    if kind == "http" and status >= 400:
        raise ActivityError(f"the request was answered with {status}")


def _failure(error: ActivityError) -> Json:
    found: Json = {"status": "failed", "exception": [f"{type(error).__name__}: {error}\n"]}
    if error.unanswered:
        found["unanswered"] = True
    if error.unfinished:
        found["unfinished"] = True
    return found
