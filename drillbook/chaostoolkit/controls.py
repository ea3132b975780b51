"""Controls: Python modules that look on before and after each part of a run, and may end it.

chaoslib goes on without a control that is missing or fails. Here one that cannot be set up stops the run before
anything is touched, and one that fails later is told, and makes the run inconclusive: what it guarded was not guarded.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from typing import Any

from drillbook.chaostoolkit.load import Json, controls
from drillbook.chaostoolkit.providers import python
from drillbook.chaostoolkit.substitution import Variables
from drillbook.chaostoolkit.threads import Threads, Unfinished
from drillbook.errors import PreflightError

SECONDS = 300.0
"""How long one function of a control may take."""
INTERRUPT = "InterruptExecution"
"""chaoslib's exception by which a control ends a run; known by its name, for chaoslib need not be there."""


class InterruptedByControl(Exception):  # noqa: N818 - it is how a control asks for the end, and no error
    """A control asked for the end of the run."""


class EventRegistry:
    """What ``configure_control`` may register handlers with: objects with chaoslib's ``RunEventHandler`` methods."""

    def __init__(self) -> None:
        self.handlers: list[Any] = []

    def register(self, handler: Any) -> None:
        """Called by controls."""
        self.handlers.append(handler)


class Controls:
    """All controls of one experiment. ``note`` hears of those that fail."""

    def __init__(self, data: Json, threads: Threads, note: Callable[[str], None]) -> None:
        self._data, self._threads, self._note = data, threads, note
        self._events = EventRegistry()
        self._configured: list[Json] = []

    async def configure(self, variables: Variables) -> None:
        """Set each up, once.

        Raises:
            PreflightError: one cannot be.

        """
        for control in self._declared():
            try:
                await self._call(control, "configure_control", variables, event_registry=self._events)
            except (Exception, SystemExit) as error:  # a user's control may raise anything
                raise PreflightError(
                    f"the control {control['name']!r} cannot be set up: {type(error).__name__}: {error}",
                    "nothing was touched; without it the run would not be guarded",
                ) from error
            self._configured.append(control)

    async def clean_up(self, journal: Json) -> None:
        """``cleanup_control`` of each, then ``finish`` of every event handler."""
        for control in self._configured:
            try:
                await self._call(control, "cleanup_control", Variables())
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's; all others are cleaned up nevertheless
                self._note(f"the control {control['name']!r} failed when cleaned up: {error}")
        await self.tell("finish", journal)

    @contextlib.asynccontextmanager
    async def around(self, level: str, context: Json, variables: Variables) -> AsyncIterator[list[Any]]:
        """Before and after one part of the run. What is appended to the list is the state that *after* is given.

        Raises:
            InterruptedByControl: one of them ends the run.

        """
        state: list[Any] = []
        await self.apply("before", level, context, None, variables)
        try:
            yield state
        except asyncio.CancelledError:
            raise
        except BaseException:  # SystemExit of a user's code too: a control that was let in is let out
            await self.apply("after", level, context, state[-1] if state else None, variables)
            raise
        await self.apply("after", level, context, state[-1] if state else None, variables)

    async def tell(self, event: str, *arguments: Any) -> None:
        """Call one method of every event handler that has it."""
        for handler in self._events.handlers:
            method = getattr(handler, event, None)
            if method is None:
                continue
            try:
                await self._threads.call(f"event handler {event}", functools.partial(method, *arguments), SECONDS)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's handler may raise anything
                self._note(f"an event handler failed at {event}: {type(error).__name__}: {error}")

    def _declared(self) -> list[Json]:
        """Each once, by name; a ``ref`` is one that is declared elsewhere."""
        found: dict[str, Json] = {}
        for control in controls(self._data):
            if "provider" in control:
                found.setdefault(control["name"], control)
        return list(found.values())

    def _of(self, level: str, context: Json) -> list[Json]:
        """Those of the experiment that are automatic, and the context's own; its own win over namesakes."""
        top = {each["name"]: each for each in self._data.get("controls") or () if "provider" in each}
        own: dict[str, Json] = {}
        if level not in ("experiment", "method", "rollback"):
            for control in context.get("controls") or ():
                named = top.get(control["ref"]) if "ref" in control else control
                if named is not None:
                    own[named["name"]] = named
        automatic = {name: each for name, each in top.items() if each.get("automatic", True)}
        return list({**automatic, **own}.values())

    async def apply(self, scope: str, level: str, context: Json, state: Any, variables: Variables) -> None:
        """Call one function of each control that is for this level and scope.

        Raises:
            InterruptedByControl: one of them ends the run.

        """
        for control in self._of(level, context):
            if control.get("scope", scope) != scope:
                continue
            function = f"{scope}_{level}_control"
            try:
                await self._call(control, function, variables, context=context, state=state)
            except (Exception, SystemExit) as error:
                if any(base.__name__ == INTERRUPT for base in type(error).__mro__):
                    raise InterruptedByControl(f"the control {control['name']!r} ended the run: {error}") from error
                self._note(f"the control {control['name']!r} failed in {function}: {type(error).__name__}: {error}")

    async def _call(self, control: Json, name: str, variables: Variables, **more: Any) -> None:
        function = getattr(importlib.import_module(control["provider"]["module"]), name, None)
        if function is None:
            return
        offered = {
            **more,
            "control": control,
            "experiment": self._data,
            "configuration": variables.configuration,
            "secrets": variables.secrets,
            "settings": {},
            "extensions": self._data.get("extensions"),
        }
        accepted = python.parameters(function)
        arguments = (
            {} if name == "cleanup_control" else variables.fill(deepcopy(control["provider"].get("arguments") or {}))
        )
        if name != "configure_control" and not any(each.kind is each.VAR_KEYWORD for each in accepted.values()):
            arguments = {key: value for key, value in arguments.items() if key in accepted}
        arguments |= {key: value for key, value in offered.items() if key in accepted}
        if name.endswith("_control") and "context" in more:
            arguments["context"] = more["context"]
        try:
            await self._threads.call(f"control {control['name']}", lambda: function(**arguments), SECONDS)
        except Unfinished as error:
            raise TimeoutError(f"{name} took longer than {SECONDS:g} s") from error
