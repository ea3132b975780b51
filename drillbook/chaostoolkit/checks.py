"""What is wrong with a Chaos Toolkit experiment, each problem with its place. Nothing of it is executed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from drillbook.chaostoolkit import jsonpath, keys
from drillbook.chaostoolkit.mainthread import void
from drillbook.document.node import Document
from drillbook.errors import Problem
from drillbook.model.expectation import suggest

Path = tuple[str | int, ...]
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def problems(document: Document) -> list[Problem]:
    """Every problem of the experiment that the document holds."""
    check = _Check(document)
    check.experiment(document.value)
    return check.found


class _Check:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.found: list[Problem] = []
        self.names = _names(document.value)

    def say(self, path: Path, message: str, hint: str = "", *, on_key: bool = False) -> None:
        self.found.append(self.document.problem(path, message, hint, on_key=on_key))

    def known(self, path: Path, value: Any, allowed: tuple[str, ...], needed: tuple[str, ...] = ()) -> bool:
        """Whether it is a mapping; each key that does not belong there, and each that is missing, is a problem."""
        if not isinstance(value, dict):
            self.say(path, f"a mapping of {', '.join(allowed[:6])} is wanted here")
            return False
        for key in value:
            if key not in allowed and not key.startswith(("x-", "_")):
                hint = f"{suggest(key, allowed)}\na key of your own begins with x-"
                self.say(
                    (*path, key), f"{key[:60]!r} is no key here, and Chaos Toolkit would ignore it", hint, on_key=True
                )
        for key in needed:
            if value.get(key) in (None, ""):
                self.say((*path, key) if key in value else path, f"{key!r} is missing", on_key=key in value)
        return True

    def one_of(self, path: Path, value: Any, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            self.say(path, f"{str(value)[:60]!r} is not known here", suggest(str(value), allowed))

    def typed(self, path: Path, value: Any, kind: type | tuple[type, ...], words: str) -> bool:
        if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
            return True
        self.say(path, f"{words} is wanted here, and this is {str(value)[:60]!r}")
        return False

    def each(self, path: Path, value: Any, check: Callable[[Path, Any], None]) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            self.say(path, "a list is wanted here")
            return
        for index, item in enumerate(value):
            check((*path, index), item)

    # -- the places

    def experiment(self, value: dict[str, Any]) -> None:
        self.known((), value, keys.EXPERIMENT, ("title", "description"))
        if not isinstance(value.get("method"), list):
            hint = "without one only the steady state is looked at; then write: method: []"
            self.say(("method",) if "method" in value else (), "'method' is missing, or is no list", hint)
        else:
            self.each(("method",), value["method"], self.activity)
        self.each(("rollbacks",), value.get("rollbacks"), self.activity)
        self.each(("controls",), value.get("controls"), self.control)
        if "steady-state-hypothesis" in value:
            self.hypothesis(("steady-state-hypothesis",), value["steady-state-hypothesis"])
        for section, check in (("configuration", self.configured), ("secrets", self.secret), ("runtime", self.runtime)):
            entries = value.get(section) or {}
            if self.typed((section,), entries, dict, "a mapping"):
                for name, entry in entries.items():
                    check((section, name), entry)
        if value.get("dry") is not None:
            self.one_of(("dry",), value["dry"], keys.DRY)
        if value.get("tags") is not None:
            self.each(("tags",), value["tags"], lambda path, tag: void(self.typed(path, tag, str, "a text")))

    def hypothesis(self, path: Path, value: Any) -> None:
        if value is None or not self.known(path, value, keys.HYPOTHESIS, ("title",)):
            return
        self.each((*path, "controls"), value.get("controls"), self.control)
        self.each((*path, "probes"), value.get("probes"), self.activity)
        probes = value.get("probes")
        for index, probe in enumerate(probes if isinstance(probes, list) else ()):
            if isinstance(probe, dict) and "tolerance" not in probe and "ref" not in probe:
                self.say((*path, "probes", index), "a probe of the hypothesis needs a 'tolerance'")

    def activity(self, path: Path, value: Any) -> None:
        if not isinstance(value, dict):
            self.say(path, "an activity is a mapping of type, name and provider")
            return
        if "ref" in value:
            self.known(path, value, keys.ACTIVITY)
            if value["ref"] not in self.names:
                self.say(
                    (*path, "ref"),
                    f"no activity is called {str(value['ref'])[:60]!r}",
                    suggest(str(value["ref"]), self.names),
                )
            return
        self.known(path, value, keys.ACTIVITY, ("type", "name", "provider"))
        if value.get("type") is not None:
            self.one_of((*path, "type"), value["type"], ("probe", "action"))
        if value.get("provider") is not None:
            self.provider((*path, "provider"), value["provider"])
        if "background" in value:
            self.typed((*path, "background"), value["background"], bool, "true or false")
        if value.get("timeout") is not None:
            self.seconds((*path, "timeout"), value["timeout"])
        pauses = value.get("pauses")
        if pauses is not None and self.known((*path, "pauses"), pauses, keys.PAUSES):
            for name, pause in pauses.items():
                self.seconds((*path, "pauses", name), pause)
        if value.get("dry") is not None:
            self.one_of((*path, "dry"), value["dry"], keys.DRY)
        if "tolerance" in value:
            self.tolerance((*path, "tolerance"), value["tolerance"])
        self.each((*path, "controls"), value.get("controls"), self.control)

    def seconds(self, path: Path, value: Any) -> None:
        if isinstance(value, str) and _VARIABLE.fullmatch(value):
            return
        if self.typed(path, value, (int, float), "a number of seconds, or ${a variable},") and value < 0:
            self.say(path, "time does not run backwards: 0 or more seconds")

    def provider(self, path: Path, value: Any) -> None:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in keys.PROVIDERS:
            if not isinstance(value, dict):
                self.say(path, "a provider is a mapping with its type")
            else:
                place, word = ((*path, "type"), str(kind)[:60]) if "type" in value else (path, "")
                self.say(place, f"no provider type is called {word!r}", suggest(word, tuple(keys.PROVIDERS)))
            return
        self.known(path, value, keys.PROVIDERS[kind], keys.NEEDED[kind])
        for key in keys.NEEDED[kind]:
            if value.get(key) is not None:
                self.typed((*path, key), value[key], str, "a text")
        if value.get("timeout") is not None and not (kind == "http" and isinstance(value["timeout"], list)):
            self.seconds((*path, "timeout"), value["timeout"])
        arguments = value.get("arguments")
        if kind == "python" and arguments is not None:
            self.typed((*path, "arguments"), arguments, dict, "a mapping of the function's arguments")
        if kind == "http" and value.get("headers") is not None:
            self.typed((*path, "headers"), value["headers"], (dict, str), "a mapping of headers")

    def tolerance(self, path: Path, value: Any) -> None:
        if isinstance(value, float):
            self.say(path, "a bare float is no tolerance", f"write {{type: range, range: [{value:g}, {value:g}]}}")
        if not isinstance(value, dict):
            if value is None:
                self.say(path, "an empty tolerance allows nothing", on_key=True)
            return
        kind = value.get("type")
        if not isinstance(kind, str) or kind not in keys.TOLERANCES:
            self.say(
                (*path, "type") if kind else path,
                f"no tolerance type is called {str(kind)[:60]!r}",
                suggest(str(kind), tuple(keys.TOLERANCES)),
            )
        elif kind == "probe":
            self.activity(path, value)
        else:
            self.known(path, value, keys.TOLERANCES[kind], keys.TOLERANCES[kind][1:2])
            self.limits(path, kind, value)

    def limits(self, path: Path, kind: str, value: Mapping[str, Any]) -> None:
        limit, place = value.get(keys.TOLERANCES[kind][1]), (*path, keys.TOLERANCES[kind][1])
        if limit is None:
            return
        if kind == "range":
            numbers = isinstance(limit, list) and len(limit) == 2 and all(_is_number(item) for item in limit)
            if not numbers:
                self.say(place, "a range is two numbers: [low, high]")
            elif limit[0] > limit[1]:
                self.say(place, f"nothing lies between {limit[0]} and {limit[1]}: the lower one comes first")
            return
        if not self.typed(place, limit, str, "a text") or _VARIABLE.search(limit):
            return
        try:
            re.compile(limit) if kind == "regex" else jsonpath.parse(limit)
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            self.say(place, f"this {'pattern' if kind == 'regex' else 'path'} cannot be read: {error}")

    def control(self, path: Path, value: Any) -> None:
        if not self.known(
            path, value, keys.CONTROL, () if isinstance(value, dict) and "ref" in value else ("name", "provider")
        ):
            return
        if value.get("scope") is not None:
            self.one_of((*path, "scope"), value["scope"], ("before", "after"))
        provider = value.get("provider")
        if provider is not None and self.known(
            (*path, "provider"), provider, keys.CONTROL_PROVIDER, ("type", "module")
        ):
            self.one_of((*path, "provider", "type"), provider.get("type"), ("python",))

    def configured(self, path: Path, value: Any) -> None:
        if not isinstance(value, dict) or "type" not in value:
            return
        if value["type"] == "env":
            self.known(path, value, ("type", "key", "default", "env_var_type"), ("key",))
            if value.get("env_var_type") is not None:
                self.one_of((*path, "env_var_type"), value["env_var_type"], keys.ENV_TYPES)
        elif value["type"] == "probe":
            self.activity(path, value)

    def secret(self, path: Path, value: Any) -> None:
        if not isinstance(value, dict):
            return
        if value.get("type") == "vault":
            hint = "put it into an environment variable before the run: {type: env, key: NAME}"
            self.say(
                path, "secrets are not fetched from Vault: drillbook holds no credentials that outlive a run", hint
            )
        elif value.get("type") == "env":
            self.known(path, value, ("type", "key"), ("key",))
        else:
            for name, inner in value.items():
                self.secret((*path, name), inner)

    def runtime(self, path: Path, value: Any) -> None:
        section = str(path[-1])
        if section not in keys.RUNTIME:
            self.say(path, f"{section[:60]!r} is no key here", suggest(section, tuple(keys.RUNTIME)), on_key=True)
        elif not self.known(path, value, keys.RUNTIME[section]):
            return
        elif section == "python" and (value.get("isolated") or value.get("dependencies")):
            hint = "install what it needs beside drillbook, and leave 'isolated' out"
            self.say(path, "Python runs in drillbook's own environment here, not in one of its own", hint)
        elif "strategy" in value:
            allowed = keys.ROLLBACK_STRATEGIES if section == "rollbacks" else keys.HYPOTHESIS_STRATEGIES
            self.one_of((*path, "strategy"), value["strategy"], allowed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(experiment: Mapping[str, Any]) -> tuple[str, ...]:
    """What a ``ref`` may name: the activities of the method and of the hypothesis."""
    hypothesis = experiment.get("steady-state-hypothesis")
    places: list[Any] = [experiment.get("method"), hypothesis.get("probes") if isinstance(hypothesis, dict) else None]
    lists: Iterable[list[Any]] = (place for place in places if isinstance(place, list))
    return tuple(
        str(item["name"])
        for items in lists
        for item in items
        if isinstance(item, dict) and "name" in item and "ref" not in item
    )
