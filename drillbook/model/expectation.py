"""The grammar of expectations, on one page::

    expectation = [quantifier] probe [operator value] [phase] [hold] [within]
                | "alert" name ("fires" [within] | "stays" "silent") [phase]
    quantifier  = "always" | "eventually" | "sometimes"
    probe       = name {"." name}                     goodput   ttft.p95   guardrail.leaks
    operator    = "<" | "<=" | ">" | ">=" | "==" | "!="
    value       = number with its unit                95%   800ms   6/s   3
    phase       = "during" ("baseline" | "inject" | "observe" | "undo" | "settle")
    hold        = "for" duration                      how long it must be so without a break
    within      = "within" duration ["of" ("inject" | "effect" | "undo")]

Without a quantifier the probe is read once over the whole window. ``always`` asks it of every sliding window,
``eventually`` of one window and all later ones up to the end of the observation, ``sometimes`` of one. ``within``
implies ``eventually`` and counts from ``inject``. A probe that is an event (``recovered``) needs no value. An alert is
a rule of the target's Prometheus: that it fires is an event, and that it stays silent is asked of every moment.

``parse`` points at the very place of an error; it knows the probes' dimensions, so ``ttft.p95 < 800`` is an error.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from drillbook.model import units
from drillbook.model.units import Dimension


class Quantifier(enum.StrEnum):
    ONCE = "once"
    ALWAYS = "always"
    EVENTUALLY = "eventually"
    SOMETIMES = "sometimes"


class Operator(enum.StrEnum):
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    EQ = "=="
    NE = "!="

    def holds(self, left: float, right: float) -> bool:
        match self:
            case Operator.LT:
                return left < right
            case Operator.LE:
                return left <= right
            case Operator.GT:
                return left > right
            case Operator.GE:
                return left >= right
            case Operator.EQ:
                return left == right
            case Operator.NE:
                return left != right


class Anchor(enum.StrEnum):
    """What ``within`` counts from."""

    INJECT = "inject"
    EFFECT = "effect"
    UNDO = "undo"


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """One parsed expectation. Durations are seconds; ``value`` is in the probe's base unit."""

    text: str
    probe: str
    quantifier: Quantifier = Quantifier.ONCE
    operator: Operator | None = None
    value: float | None = None
    dimension: Dimension | None = None
    """None for an event."""
    during: str | None = None
    hold: float | None = None
    within: float | None = None
    anchor: Anchor = Anchor.INJECT

    @property
    def is_event(self) -> bool:
        return self.operator is None

    @property
    def alert(self) -> str:
        """The alert that it speaks of; empty where it speaks of none."""
        return self.probe.removeprefix(ALERT) if self.probe.startswith(ALERT) else ""

    @property
    def happened(self) -> str:
        """An event as it is told where it happened."""
        return f"alert {self.alert} fired" if self.alert else self.probe

    @property
    def subject(self) -> str:
        """... and where it cannot be said."""
        return self.happened if self.alert else f"it {self.probe}"

    @property
    def missed(self) -> str:
        """... and where it did not."""
        return f"alert {self.alert} did not fire" if self.alert else f"not {self.probe}"


class ExpectationError(ValueError):
    """The text is no expectation. ``at`` is the offset of the offending word in the text."""

    def __init__(self, message: str, text: str, at: int, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.text, self.at, self.hint = message, text, at, hint


ALERT = "alert."
"""What the probe of an alert is called: this, and the alert's own name."""
PHASES = ("baseline", "inject", "observe", "undo", "settle")
_TOKEN = re.compile(
    r"""\s*(?:(?P<operator><=|>=|==|!=|<|>|=)
    |(?P<value>[0-9][0-9.]*(?:%|/?[a-z]+)?(?![\w.-]))
    |(?P<word>[A-Za-z][\w.-]*)
    |(?P<other>\S+))""",
    re.VERBOSE,
)
_CLAUSES = ("during", "for", "within")
_MAPPING_KEYS = frozenset(
    {"alert", "stays", "probe", "always", "eventually", "sometimes", "is", "during", "for", "within", "of"}
)


class _Words:
    """The words of one expectation, each with its offset."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.items = [
            (str(m.lastgroup), m.group(m.lastgroup or 0), m.start(m.lastgroup or 0))
            for m in _TOKEN.finditer(text.rstrip())
        ]
        self.index = 0

    def peek(self) -> tuple[str, str, int]:
        return self.items[self.index] if self.index < len(self.items) else ("end", "", len(self.text.rstrip()))

    def take(self) -> tuple[str, str, int]:
        item = self.peek()
        self.index += 1
        return item

    def fail(self, message: str, at: int, hint: str = "") -> NoReturn:
        raise ExpectationError(message, self.text, at, hint)


def parse(text: str, probes: Mapping[str, Dimension | None]) -> Expectation:
    """Read one expectation. ``probes`` maps each known probe to its dimension, None for an event.

    Raises:
        ExpectationError: with the offset of the offending word and what is allowed there.

    """
    words = _Words(text)
    quantifier = Quantifier.ONCE
    if words.peek()[1] in ("always", "eventually", "sometimes"):
        quantifier = Quantifier(words.take()[1])
    kind, probe, at = words.take()
    if kind != "word":
        words.fail("a probe's name is wanted here", at, "for example: goodput >= 95%")
    if probe == "alert" and probe not in probes:
        return _alert(words, quantifier, text, at)
    if probe not in probes:
        words.fail(f"no probe is called {probe!r}", at, suggest(probe, probes))
    dimension = probes[probe]
    operator, value = _comparison(words, probe, dimension)
    clauses = _clauses(words)
    within = clauses.get("within")
    if within is not None and quantifier is Quantifier.ONCE:
        quantifier = Quantifier.EVENTUALLY
    return Expectation(
        text=text.strip(),
        probe=probe,
        quantifier=quantifier,
        operator=operator,
        value=value,
        dimension=dimension,
        **clauses,
    )


def _alert(words: _Words, quantifier: Quantifier, text: str, at: int) -> Expectation:
    """``alert EngineHung fires within 60s``, ``alert EngineHung stays silent``."""
    if quantifier is not Quantifier.ONCE:
        words.fail(f"an alert takes no {quantifier.value!r}", 0, "it 'fires within 60s' or 'stays silent'")
    kind, name, at = words.take()
    if kind != "word" or name in ("fires", "stays"):
        words.fail("an alert's name is wanted here", at, "for example: alert EngineHung fires within 60s")
    _, verb, at = words.take()
    if verb not in ("fires", "stays"):
        words.fail(f"an alert 'fires' or 'stays silent', not {verb!r}", at, suggest(verb, ("fires", "stays")))
    if verb == "stays":
        _, word, at = words.take()
        if word != "silent":
            words.fail("'silent' is wanted here", at, f"for example: alert {name} stays silent")
    at = words.peek()[2]
    clauses = _clauses(words)
    for clause in ("hold", *(("within",) if verb == "stays" else ())):
        if clause in clauses:
            said = "for" if clause == "hold" else clause
            words.fail(f"an alert that {verb} takes no {said!r}", at, "its rule says how long it waits before it fires")
    silent: dict[str, Any] = {
        "quantifier": Quantifier.ALWAYS,
        "operator": Operator.EQ,
        "value": 0.0,
        "dimension": Dimension.COUNT,
    }
    within = {"quantifier": Quantifier.EVENTUALLY} if "within" in clauses else {}
    return Expectation(text=text.strip(), probe=ALERT + name, **(silent if verb == "stays" else within), **clauses)


def suggest(word: str, allowed: Mapping[str, object] | tuple[str, ...]) -> str:
    """``did you mean …?`` where something is close, else what is allowed."""
    close = difflib.get_close_matches(word, list(allowed), n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    return "allowed: " + ", ".join(sorted(allowed))


def _comparison(words: _Words, probe: str, dimension: Dimension | None) -> tuple[Operator | None, float | None]:
    kind, symbol, at = words.peek()
    if kind != "operator":
        if dimension is not None:
            words.fail(
                f"{probe} is a {dimension.value}: it wants a comparison here",
                at,
                f"for example: {probe} < {dimension.example.split(',')[0]}",
            )
        return None, None
    words.take()
    if symbol == "=":
        words.fail("'=' compares nothing", at, "write '=='")
    if dimension is None:
        words.fail(
            f"{probe} is an event: it happens or not, and is not compared", at, f"for example: {probe} within 60s"
        )
    kind, word, at = words.take()
    try:
        return Operator(symbol), units.parse_as(word, dimension)
    except ValueError as error:
        words.fail(
            str(error) if word else "a value is wanted here", at, f"{probe} is a {dimension.value}: {dimension.example}"
        )


def _clauses(words: _Words) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while (item := words.take())[0] != "end":
        _, word, at = item
        if word not in _CLAUSES:
            words.fail(f"unexpected {word!r}", at, suggest(word, _CLAUSES))
        name = {"for": "hold"}.get(word, word)
        if name in found:
            words.fail(f"{word!r} is said twice", at)
        if word == "during":
            _, phase, at = words.take()
            if phase not in PHASES:
                words.fail(f"no phase is called {phase!r}", at, suggest(phase, PHASES))
            found[name] = phase
            continue
        _, amount, at = words.take()
        try:
            found[name] = units.parse_as(amount, Dimension.DURATION)
        except ValueError as error:
            words.fail(str(error) if amount else "a duration is wanted here", at, "for example: 60s")
        if word == "within" and words.peek()[1] == "of":
            words.take()
            _, anchor, at = words.take()
            if anchor not in list(Anchor):
                words.fail(
                    f"'of' counts from inject, effect or undo, not {anchor!r}", at, suggest(anchor, tuple(Anchor))
                )
            found["anchor"] = Anchor(anchor)
    return found


def from_mapping(value: Mapping[object, object]) -> str:
    """The sentence that the YAML form says: ``{always: goodput, is: '>= 95%', during: observe}``.

    Keys: one of ``probe``, ``always``, ``eventually``, ``sometimes`` with the probe's name; ``is`` with operator and
    value; ``during``, ``for``, ``within``, ``of``. The sentence is then parsed as any other.
    """
    words: list[str] = []
    if "alert" in value:
        words += ["alert", str(value["alert"]), *(["stays", "silent"] if value.get("stays") == "silent" else ["fires"])]
    for quantifier in ("probe", "always", "eventually", "sometimes"):
        if quantifier in value:
            words += [] if quantifier == "probe" else [quantifier]
            words.append(str(value[quantifier]))
    if "is" in value:
        words.append(str(value["is"]))
    for clause in ("during", "for", "within", "of"):
        if clause in value:
            words += [clause, str(value[clause])]
    unknown = [str(key) for key in value if key not in _MAPPING_KEYS]
    return " ".join(words + unknown)
