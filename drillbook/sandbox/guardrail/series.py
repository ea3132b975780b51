"""What the gateway and the classifier count, in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Mapping

from drillbook.sandbox.engine.metrics import Registry, Value

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _Counters:
    """Counters whose label values are met as they come."""

    def __init__(self) -> None:
        self._registry = Registry()
        self._values: dict[tuple[str, ...], Value] = {}

    def count(self, name: str, text: str, labels: Mapping[str, str]) -> None:
        key = (name, *labels.values())
        if key not in self._values:
            self._values[key] = self._registry.value("counter", name, text, labels)
        self._values[key].add()

    def text(self) -> str:
        return self._registry.text()


class GatewaySeries(_Counters):
    """The gateway's."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = self._registry.histogram("guardrail_check_seconds", "Time of one check.", {}, _SECONDS)
        self.checking = self._registry.value("gauge", "guardrail_checks_running", "Checks under way.", {})

    def checked(self, rail: str, verdict: str, seconds: float) -> None:
        """``verdict``: ``passed``, ``blocked``, or why there is none."""
        labels = {"rail": rail, "verdict": verdict}
        self.count("guardrail_checks_total", "Checks by their verdict, or by why there was none.", labels)
        self._seconds.observe(seconds)

    def bypassed(self, rail: str) -> None:
        self.count("guardrail_bypassed_total", "Texts that passed without a verdict.", {"rail": rail})

    def fell_back(self, rails: str) -> None:
        self.count("guardrail_fallback_total", "Requests that went to the fallback model.", {"rails": rails})


class ClassifierSeries(_Counters):
    """The classifier's."""

    def judged(self, rail: str, flagged: bool) -> None:
        labels = {"rail": rail, "flagged": str(flagged).lower()}
        self.count("classifier_judged_total", "Texts that were judged.", labels)
