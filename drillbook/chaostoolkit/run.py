"""One Chaos Toolkit experiment, from preflight to the last rollback.

The body (hypothesis, method, hypothesis) is a task that a signal, a control or a bug may end early, whatever activity
is in flight. The rollbacks come after it on every exit, and nothing cancels them. What was learnt is not decided here
but by ``judge``, from the journal.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from drillbook.chaostoolkit import hypothesis, preflight, rollbacks, variables
from drillbook.chaostoolkit.controls import Controls, InterruptedByControl
from drillbook.chaostoolkit.guardian import Guardian
from drillbook.chaostoolkit.journal import Journal
from drillbook.chaostoolkit.load import ChaosExperiment, Json, must_be_trusted
from drillbook.chaostoolkit.mainthread import MainThread, void
from drillbook.chaostoolkit.performer import Performer
from drillbook.chaostoolkit.redaction import Redactor
from drillbook.chaostoolkit.threads import ACTION, Threads
from drillbook.experiments.drill import new_folder, new_run_id, point_latest
from drillbook.experiments.run import Stop
from drillbook.model.verdict import RunStatus

BEFORE = ("default", "before-method-only", "continuously")
AFTER = ("default", "after-method-only", "continuously")
DURING = ("during-method-only", "continuously")
_SAFEGUARD = (RunStatus.ABORTED, "a safeguard asked for the end of the run")
MEANINGS = {
    signal.SIGINT: (RunStatus.INTERRUPTED, "interrupted (Ctrl-C)"),
    signal.SIGTERM: (RunStatus.INTERRUPTED, "told to end (SIGTERM)"),
    signal.SIGHUP: (RunStatus.INTERRUPTED, "the terminal was closed"),
    signal.SIGUSR1: _SAFEGUARD,
    signal.SIGUSR2: _SAFEGUARD,
}
"""The first signal ends the body; the rollbacks then run to their end whatever comes. With the last two,
``chaoslib.exit`` lets a control or an activity ask for the end of the run."""

Say = Callable[[str], None]


async def run(experiment: ChaosExperiment, runs: Path, say: Say, main: MainThread) -> Journal:
    """Run the experiment; its journal's folder holds all that is to be known. ``main`` is what serves this very call.

    Raises:
        UntrustedError: it names Python or programs, and nobody vouched for it.
        PreflightError: it cannot be run here; nothing was touched.

    """
    must_be_trusted(experiment)
    preflight.check(experiment)
    data = deepcopy(experiment.data)
    threads, notes = Threads(main), list[str]()
    loaded = await variables.load(data, threads)
    data["title"] = str(loaded.fill(data["title"]))
    controls = Controls(data, threads, notes.append)
    await controls.configure(loaded)
    journal = Journal.begin(
        new_folder(runs, experiment.path.stem),
        data,
        Redactor(loaded.secrets),
        **{"run-id": new_run_id(), "path": str(experiment.path), "sha256": experiment.sha256, "notes": notes},
    )
    live = _Run(Performer(data, loaded, journal, controls, threads), say)
    loop = asyncio.get_running_loop()
    main.heard = lambda number: void(loop.call_soon_threadsafe(live.stop.set, *MEANINGS[signal.Signals(number)]))
    await live.execute()
    point_latest(journal.path.parent)
    return journal


class _Run:
    def __init__(self, performer: Performer, say: Say) -> None:
        self.performer, self.journal, self.data, self.say = performer, performer.journal, performer.data, say
        self.stop = Stop()
        runtime = self.data.get("runtime") or {}
        self.wanted: Json = runtime.get("hypothesis") or {}
        self.strategy: str = self.wanted.get("strategy", "default")
        self.rollback_strategy: str = (runtime.get("rollbacks") or {}).get("strategy", "default")
        self.guardian: Guardian | None = None

    async def execute(self) -> None:
        self.journal.save()
        controls, variables = self.performer.controls, self.performer.variables
        await controls.tell("started", self.data, self.journal.data)
        await controls.tell(
            "running", self.data, self.journal.data, variables.configuration, variables.secrets, None, {}
        )
        await self._body_until_stopped()
        if self.stop.status is not RunStatus.COMPLETED:
            await controls.tell("interrupted", self.data, self.journal.data)
        await self._roll_back()
        await self._control("after")
        self.journal.ours.update(ended=True, status=self.stop.status.value, reason=self.stop.reason)
        self.journal.save()
        await controls.clean_up(self.journal.data)
        self.journal.save()
        if self.guardian is not None:
            await self.guardian.goodbye()

    # -- the body: may be ended early at any await

    async def _body_until_stopped(self) -> None:
        body = asyncio.create_task(self._body(), name="body")
        stopped = asyncio.create_task(self.stop.event.wait(), name="stop")
        await asyncio.wait([body, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (body, stopped):
            task.cancel()
        (error, _) = await asyncio.gather(body, stopped, return_exceptions=True)
        if isinstance(error, InterruptedByControl):
            self.stop.set(RunStatus.ABORTED, str(error))
        elif isinstance(error, Exception):
            # A bug or a full disk must not skip the rollbacks: it is told by the run's status instead.
            self.stop.set(RunStatus.CRASHED, f"{type(error).__name__}: {error}")
        self.journal.data["status"] = _STATUSES[self.stop.status]
        if self.stop.status is RunStatus.COMPLETED and self._a_probe_failed():
            self.journal.data["status"] = "failed"

    def _a_probe_failed(self) -> bool:
        states = self.journal.data["steady_states"]
        asked = [state for state in (states["before"], states["after"]) if state]
        return any(probe["status"] == "failed" for state in asked for probe in state["probes"])

    async def _body(self) -> None:
        await self._control("before")
        if self.strategy in BEFORE:
            before = await self._ask("before")
            if before is not None and not before["steady_state_met"]:
                self.say("the steady state does not hold: the method is not begun")
                return
        if self.data.get("rollbacks") and self.rollback_strategy != "never":
            self.guardian = await Guardian.start(self.journal.path.parent, self.data, self.performer.variables)
        await self._method_watched()
        if self.strategy in AFTER:
            after = await self._ask("after")
            self.journal.data["deviated"] |= after is not None and not after["steady_state_met"]

    async def _ask(self, when: str) -> Json | None:
        self.say(f"steady state, {when} the method")
        await self.performer.controls.tell(f"start_hypothesis_{when}", self.data)
        state = await hypothesis.ask(self.performer)
        self.journal.data["steady_states"][when] = state
        self.journal.save()
        for probe in (state or {}).get("probes", ()):
            mark, why = "ok" if probe["tolerance_met"] else "NO", self.journal.hide(probe["reason"])
            self.say(f"  {mark}  {probe['activity']['name']}: {why}")
        await self.performer.controls.tell(f"hypothesis_{when}_completed", self.data, state, self.journal.data)
        return state

    async def _method_watched(self) -> None:
        """The method, and the samples beside it; with ``fail_fast`` the first bad one ends it."""
        bad = asyncio.Event() if self.wanted.get("fail_fast") else None
        tasks = [asyncio.create_task(self._method(), name="method")]
        samples: list[Json] = self.journal.data["steady_states"]["during"]
        if self.strategy in DURING:
            pace = float(self.wanted.get("frequency", hypothesis.FREQUENCY))
            tasks.append(asyncio.create_task(hypothesis.ask_continuously(self.performer, samples, pace, bad)))
        watch = [asyncio.create_task(bad.wait(), name="fail fast")] if bad is not None else []
        try:
            pending = {*tasks, *watch}
            while not tasks[0].done() and not (watch and watch[0].done()):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {*watch}:
                    task.result()  # a control's interruption, or a bug in the sampling: never lost in a task
        finally:
            for task in (*tasks, *watch):
                task.cancel()
            await asyncio.gather(*tasks, *watch, return_exceptions=True)
        violated = [state for state in samples if not state["steady_state_met"]]
        self.journal.data["deviated"] |= bool(violated)
        if bad is not None and bad.is_set():
            self.say("a sample of the steady state does not hold: the method is ended (fail_fast)")
            raise InterruptedByControl("the steady state deviated during the method (fail_fast)")

    async def _method(self) -> None:
        performer, done = self.performer, self.journal.data["run"]
        await performer.controls.tell("start_method", self.data)
        async with performer.controls.around("method", self.data, performer.variables) as told:
            told.append(done)
            try:
                async with asyncio.TaskGroup() as background:
                    for activity in self.data["method"]:
                        if activity.get("background"):
                            background.create_task(self._perform(activity, done))
                        else:
                            await self._perform(activity, done)
            except ExceptionGroup as group:
                raise group.exceptions[0] from None  # the first that ended the method: a control's word, or a bug
        await performer.controls.tell("method_completed", self.data, done)

    async def _perform(self, activity: Json, done: list[Json]) -> None:
        named = self.performer.resolve(activity)
        self.say(f"{named['type']} {named['name']}{' (background)' if activity.get('background') else ''}")
        record = await self.performer.perform(activity, done)
        if "tolerance" in named and named["type"] == "probe":
            await hypothesis.judge(self.performer, named, record)
            self.journal.data["deviated"] |= not record["tolerance_met"]
        if record["status"] != "succeeded":
            self.say(f"  FAILED  {self.journal.hide(record['exception'][0].strip())}")

    # -- the end: runs on every exit

    async def _roll_back(self) -> None:
        left = [name for name in await self.performer.threads.end() if name.startswith(ACTION)]
        self.journal.ours["still-running"] = left
        self.journal.durable = False
        reason = rollbacks.why_not(self.journal.data, self.rollback_strategy)
        self.journal.ours["rollbacks-skipped"] = reason
        if reason:
            self.say(f"no rollbacks: {reason}")
            return
        self.say("rolling back" + (f" ({self.stop.reason})" if self.stop.reason else ""))
        await self.performer.controls.tell("start_rollbacks", self.data)
        await rollbacks.play(self.performer)
        for record in self.journal.data["rollbacks"]:
            self.say(f"  {record['status']}  {record['activity']['name']}")
        await self.performer.controls.tell("rollbacks_completed", self.data, self.journal.data)

    async def _control(self, scope: str) -> None:
        """The controls of the experiment as a whole; after the rollbacks there is nothing left to interrupt."""
        journal = self.journal.data if scope == "after" else None
        try:
            await self.performer.controls.apply(scope, "experiment", self.data, journal, self.performer.variables)
        except InterruptedByControl as error:
            if scope == "before":
                raise
            self.journal.note(str(error))


_STATUSES = {
    RunStatus.COMPLETED: "completed",
    RunStatus.ABORTED: "aborted",
    RunStatus.INTERRUPTED: "interrupted",
    RunStatus.CRASHED: "aborted",
}


def plan(experiment: ChaosExperiment) -> list[str]:
    """What a run would do, in words; nothing is executed, and nobody needs to be trusted for it."""
    data: dict[str, Any] = experiment.data
    lines = [f"{data['title']}"]
    sections = (
        ("steady state", (data.get("steady-state-hypothesis") or {}).get("probes")),
        ("method", data["method"]),
        ("rollbacks", data.get("rollbacks")),
    )
    for heading, items in sections:
        lines.append(f"{heading}:")
        for item in items or ():
            provider = item.get("provider", {})
            what = provider.get("url") or provider.get("path") or f"{provider.get('module')}.{provider.get('func')}"
            lines.append(
                f"  {item['ref']} (again)"
                if "ref" in item
                else f"  {item['type']} {item['name']}: {provider['type']} {what}"
            )
    if experiment.executes:
        lines.append(f"executes, once trusted: {', '.join(experiment.executes)}")
    return lines
