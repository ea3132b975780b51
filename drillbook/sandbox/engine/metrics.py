"""Counters, gauges and histograms in Prometheus' text format, as vLLM's client library writes them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from drillbook import clock

INFINITY = float("inf")


def number(value: float) -> str:
    """A sample's value as Prometheus' Python client prints it."""
    return "+Inf" if value == INFINITY else repr(float(value))


def labelled(name: str, labels: Mapping[str, str]) -> str:
    """A series' name with its labels, in alphabetical order."""
    if not labels:
        return name
    inner = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    return f"{name}{{{inner}}}"


class Value:
    """One series of a counter or gauge."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        self.value = 0.0
        self.created = clock.wall()

    def add(self, amount: float = 1.0) -> None:
        self.value += amount

    def set(self, value: float) -> None:
        self.value = value

    def lines(self, name: str) -> Iterator[str]:
        yield f"{labelled(name, self.labels)} {number(self.value)}"


class Histogram:
    """One series of a histogram; ``buckets`` are upper bounds without infinity."""

    def __init__(self, labels: Mapping[str, str], buckets: Sequence[float]) -> None:
        self.labels = dict(labels)
        self.bounds = (*buckets, INFINITY)
        self.counts = [0] * len(self.bounds)
        self.sum = 0.0
        self.created = clock.wall()

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def lines(self, name: str) -> Iterator[str]:
        total = 0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            total += count
            yield f"{labelled(name + '_bucket', {**self.labels, 'le': number(bound)})} {number(total)}"
        yield f"{labelled(name + '_count', self.labels)} {number(total)}"
        yield f"{labelled(name + '_sum', self.labels)} {number(self.sum)}"


Series = Value | Histogram


class Registry:
    """All families of one server, in the order in which they were added."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str, list[Series]]] = {}

    def value(self, kind: str, name: str, text: str, labels: Mapping[str, str]) -> Value:
        """A series of a ``counter`` or ``gauge`` family."""
        series = Value(labels)
        self._families.setdefault(name, (kind, text, []))[2].append(series)
        return series

    def histogram(self, name: str, text: str, labels: Mapping[str, str], buckets: Sequence[float]) -> Histogram:
        series = Histogram(labels, buckets)
        self._families.setdefault(name, ("histogram", text, []))[2].append(series)
        return series

    def text(self) -> str:
        """The whole exposition. Counters and histograms have a ``_created`` gauge each, as vLLM's have."""
        lines: list[str] = []
        for name, (kind, text, members) in self._families.items():
            lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")
            for series in members:
                lines += series.lines(name)
            if kind != "gauge":
                created = name.removesuffix("_total") if kind == "counter" else name
                lines += (f"# HELP {created}_created {text}", f"# TYPE {created}_created gauge")
                lines += (f"{labelled(created + '_created', one.labels)} {number(one.created)}" for one in members)
        return "\n".join(lines) + "\n"
