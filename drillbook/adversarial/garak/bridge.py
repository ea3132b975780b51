"""The process that garak lives in: run by any interpreter that has garak 0.17, and imports nothing of drillbook.

Each probe runs as garak's own harness would run it, ``probe.probe(generator)``, in a thread of its own. One method is
replaced: ``_execute_all``, which sends. It gives every attempt to the other side as an ``ask`` and completes it with
the ``answer`` by garak's own hooks; then garak's detectors score it. Probes that call the generator themselves (tree
search, attacker models) come through ``Bridge._call_model`` in the same way.

Standard input: one line that says what to load, then answers; its end ends the process. Standard output: JSON lines
(``probe``, ``lost``, ``ask``, ``scores``, ``done``, ``end``); what garak itself prints goes to standard error.
"""

from __future__ import annotations

import copy
import datetime
import io
import itertools
import json
import os
import queue
import random
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

Json = dict[str, Any]
SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "max_tokens", "stop")
"""What a probe's hook may set on the generator for one attempt (promptinject does)."""


class Wire:
    """Both pipes, shared by all probes' threads."""

    def __init__(self, out: int) -> None:
        self._out = os.fdopen(out, "w", encoding="utf-8")
        self._lock = threading.Lock()
        self._ids = itertools.count()
        self._waiting: dict[int, tuple[queue.SimpleQueue[tuple[Any, list[str | None]]], Any]] = {}

    def tell(self, op: str, **words: Any) -> None:
        line = json.dumps({"op": op, **words}, ensure_ascii=False, default=str)
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()

    def ask(self, inbox: queue.SimpleQueue[tuple[Any, list[str | None]]], token: Any, **words: Any) -> int:
        """Ask for one answer; it is put into ``inbox`` beside ``token``."""
        number = next(self._ids)
        self._waiting[number] = (inbox, token)
        self.tell("ask", id=number, **words)
        return number

    def listen(self) -> None:
        """Hand out answers until the other side is gone."""
        for line in sys.stdin:
            answer = json.loads(line)
            inbox, token = self._waiting.pop(answer["id"])
            inbox.put((token, answer["outputs"]))
        os._exit(0)


def configure(start: Json) -> None:
    """Garak's global state as its command line would leave it."""
    from garak import _config, _plugins
    from garak.services import intentservice, langservice

    _config.load_config()
    _config.transient.starttime = datetime.datetime.fromtimestamp(start["now"], datetime.UTC)
    _config.transient.reportfile = io.StringIO()
    _config.transient.intent_spec, _config.transient.blocked_intent_spec = "S", ""
    _config.run.seed = start["seed"]
    _config.run.generations = 1
    if start.get("cap") is not None:
        _config.run.soft_probe_prompt_cap = start["cap"]
    for kind, tree in start.get("config", {}).items():
        merge(getattr(_config.plugins, kind), tree)
    langservice.load()
    intentservice.load()
    _config.buffmanager.buffs = [_plugins.load_plugin(f"buffs.{name}") for name in start.get("buffs", ())]


def merge(known: Json, said: Json) -> None:
    """Lay what was said over what is known, branch by branch."""
    for key, value in said.items():
        if isinstance(value, dict) and isinstance(known.get(key), dict):
            merge(known[key], value)
        else:
            known[key] = value


def names(specs: Iterable[str]) -> list[str]:
    """The probes that are meant: a module's active ones, or a class by its name."""
    from garak import _plugins

    known = {name.removeprefix("probes."): active for name, active in _plugins.enumerate_plugins("probes")}
    found: list[str] = []
    for spec in specs:
        wanted = spec.removeprefix("probes.")
        matching = [
            name for name, active in known.items() if name == wanted or (active and name.startswith(f"{wanted}."))
        ]
        if not matching:
            raise LookupError(f"garak has no probe {wanted!r}")
        found += matching
    return list(dict.fromkeys(found))


def detectors(probe: Any, wire: Wire, name: str) -> list[tuple[str, Any]]:
    """The probe's own detectors; those that cannot be loaded here are told, never passed over in silence."""
    from garak import _plugins

    found = []
    for wanted in [probe.primary_detector, *probe.extended_detectors]:
        if wanted:
            try:
                detector = _plugins.load_plugin(f"detectors.{wanted}")
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the other side is told
                wire.tell("lost", probe=name, detector=wanted, why=f"{type(error).__name__}: {error}")
            else:
                found.append((detector.detectorname.removeprefix("garak.detectors."), detector))
    return found


class Runner(threading.Thread):
    """One probe, from its first prompt to its last score.

    Garak sends one attempt after the other, or one a process, and offers no public way in between: so its private steps
    are taken here, in its order. A test against garak's own harness holds that they do the same.
    """

    def __init__(self, wire: Wire, name: str, probe: Any, scoring: list[tuple[str, Any]], model: str) -> None:
        super().__init__(name=name, daemon=True)
        self._wire, self._name, self._probe, self._detectors = wire, name, probe, scoring
        self._generator = bridge_generator(self, model)
        self._defaults = self._sampling()

    def run(self) -> None:
        why = ""
        self._probe._execute_all = self._execute_all  # noqa: SLF001 - the one method that sends
        try:
            self._probe.probe(self._generator)
        except Exception as error:  # noqa: BLE001 - a probe that breaks is told, and breaks no other
            why = f"{type(error).__name__}: {error}"
        self._wire.tell("done", probe=self._name, why=why)

    def _execute_all(self, attempts: Iterable[Any]) -> list[Any]:
        """Garak's ``Probe._execute_all``, asynchronous: all attempts at once, completed as their answers come."""
        inbox: queue.SimpleQueue[tuple[Any, list[str | None]]] = queue.SimpleQueue()
        asked = {}
        for place, attempt in enumerate(attempts):
            self._probe._generator_precall_hook(self._generator, attempt)  # noqa: SLF001 - see the class
            rows = [{"role": turn.role, "content": turn.content.text} for turn in attempt.prompt.turns]
            changed = {key: value for key, value in self._sampling().items() if value != self._defaults[key]}
            number = self._wire.ask(
                inbox, (place, attempt), probe=self._name, seq=attempt.seq, messages=rows, params=changed
            )
            asked[place] = number
        done: dict[int, Any] = {}
        while len(done) < len(asked):
            (place, attempt), outputs = inbox.get()
            done[place] = self._complete(attempt, outputs)
            self._score(asked[place], done[place])
        return [done[place] for place in sorted(done)]

    def _complete(self, attempt: Any, outputs: list[str | None]) -> Any:
        """What garak's ``_execute_attempt`` and ``_execute_all`` do once an answer is there, in their order."""
        from garak.attempt import Message

        probe = self._probe
        attempt.outputs = [None if text is None else Message(text=text) for text in outputs]
        if probe.post_buff_hook:
            attempt = probe._postprocess_buff(attempt)  # noqa: SLF001 - see the class
        attempt = probe._postprocess_hook(attempt)  # noqa: SLF001 - see the class
        probe._generator_cleanup()  # noqa: SLF001 - see the class
        return probe._postprocess_attempt(copy.deepcopy(attempt))  # noqa: SLF001 - see the class

    def _score(self, number: int, attempt: Any) -> None:
        scores = {name: list(detector.detect(attempt)) for name, detector in self._detectors}
        attempt.detector_results = scores
        attempt.status = 2
        self._wire.tell("scores", id=number, scores=scores, attempt=attempt.as_dict())

    def call(self, conversation: Any) -> str | None:
        """One call of the generator by the probe's own logic."""
        inbox: queue.SimpleQueue[tuple[Any, list[str | None]]] = queue.SimpleQueue()
        rows = [{"role": turn.role, "content": turn.content.text} for turn in conversation.turns]
        number = self._wire.ask(inbox, None, probe=self._name, seq=None, messages=rows, params={})
        _, outputs = inbox.get()
        self._wire.tell("scores", id=number, scores={}, attempt=None)
        return outputs[0]

    def _sampling(self) -> Json:
        return {key: getattr(self._generator, key, None) for key in SAMPLING}


def bridge_generator(runner: Runner, model: str) -> Any:
    """A generator of garak's that asks the other side."""
    from garak.attempt import Message
    from garak.generators.base import Generator

    class Bridge(Generator):  # type: ignore[misc]  # garak is not where the types are checked
        """Asks drillbook to send."""

        generator_family_name = "drillbook"
        parallel_capable = False

        def _call_model(self, prompt: Any, generations_this_call: int = 1) -> list[Any]:
            answers = [runner.call(prompt) for _ in range(generations_this_call)]
            return [None if text is None else Message(text=text) for text in answers]

    return Bridge(name=model or "model")


def runners(start: Json, wire: Wire) -> Iterator[Runner]:
    """Load probe after probe, each from the same state of chance, so that a seed means the same prompts."""
    from garak import _plugins

    for name in names(start["specs"]):
        random.seed(start["seed"])
        try:
            probe = _plugins.load_plugin(f"probes.{name}")
        except Exception as error:  # noqa: BLE001 - a probe that needs what is not here is told, and stops no other
            wire.tell("done", probe=name, why=f"it cannot be loaded: {type(error).__name__}: {error}")
            continue
        scoring = detectors(probe, wire, name)
        wire.tell(
            "probe", probe=name, goal=probe.goal, tags=list(probe.tags), detectors=[detector for detector, _ in scoring]
        )
        yield Runner(wire, name, probe, scoring, start["model"])


def main() -> None:
    """Run all that the first line asks for."""
    if (
        sys.platform == "linux"
    ):  # who sends runs at real-time priority, and detectors are to take nothing from an engine
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.nice(5)
    out = os.dup(1)
    os.dup2(2, 1)  # what garak prints is no part of what is said here
    wire = Wire(out)
    start = json.loads(sys.stdin.readline())
    try:
        configure(start)
        running = []
        threading.Thread(target=wire.listen, daemon=True).start()
        for runner in runners(start, wire):
            runner.start()
            running.append(runner)
    except Exception as error:  # noqa: BLE001 - told to the other side, which ends this process
        wire.tell("end", why=f"{type(error).__name__}: {error}")
        return
    for runner in running:
        runner.join()
    wire.tell("end", why="")


if __name__ == "__main__":
    main()
