"""AnalysisRuns: measures each metric as often as asked, and says whether all of them were well."""

from __future__ import annotations

import asyncio

from drillbook import clock
from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers import canary, measurement
from drillbook.sandbox.control.controllers.analysisjobs import AnalysisJobs
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, copy, dig, is_deleting, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.statuses import ApiError

OVER = frozenset({"Successful", "Failed", "Error", "Inconclusive"})
_ERRORS = 4
"""``consecutiveErrorLimit``, unless said."""


class AnalysisRuns(Controller):
    resource = "analysisruns.argoproj.io"
    component = "rollouts-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self._jobs = AnalysisJobs(registry)
        self._asking: dict[tuple[str, str, str], asyncio.Task[None]] = {}

    async def close(self) -> None:
        await super().close()
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def reconcile(self, namespace: str, name: str) -> float | None:
        run = self.registry.find(self.resource, namespace, name)
        if run is None or is_deleting(run) or dig(run, "status", "phase") in OVER:
            return None
        waits = []
        for metric in run["spec"]["metrics"]:
            wait = _wait(metric, _result(run.get("status") or {}, metric["name"]), run)
            if wait is None or (namespace, name, metric["name"]) in self._asking:
                continue
            if wait > 0:
                waits.append(wait)
            else:
                self._ask(run, metric)
        return min(waits, default=None)

    def _ask(self, run: Json, metric: Json) -> None:
        key = (namespace_of(run), name_of(run), str(metric["name"]))
        task = asyncio.create_task(self._measure(run, metric), name="measurement")
        self._asking[key] = task

        def over(_: asyncio.Task[None]) -> None:
            self._asking.pop(key, None)
            self.enqueue(key[:2])

        task.add_done_callback(over)

    async def _measure(self, run: Json, metric: Json) -> None:
        began, value, message = times.stamp(), "", ""
        arguments = {row["name"]: str(row.get("value", "")) for row in run["spec"].get("args") or ()}
        try:
            ready: Json = measurement.filled(metric, arguments)
            if "job" in ready["provider"]:
                done = _result(run.get("status") or {}, metric["name"]).get("measurements") or ()
                phase, message = await self._jobs.measure(run, ready, len(done) + 1)
            else:
                result = await measurement.measure(ready["provider"], self._addresses())
                phase, value = measurement.judged(ready, result), str(result)
        except ValueError as error:
            phase, message = "Error", str(error)
        row = {"phase": phase, "startedAt": began, "finishedAt": times.stamp(), "value": value, "message": message}
        try:
            self.registry.modify(
                self._kind, namespace_of(run), name_of(run), lambda fresh: _note(fresh, metric, row), "status"
            )
        except ApiError as refusal:
            if refusal.reason != "NotFound":  # gone with its rollout
                raise

    def _addresses(self) -> dict[str, str]:
        return {
            f"{name_of(obj)}.{namespace_of(obj)}": str(obj["spec"]["clusterIP"])
            for obj in self.store.objects("services")
            if obj["spec"].get("clusterIP") not in (None, "", "None")
        }


def _result(status: Json, name: str) -> Json:
    return next((row for row in status.get("metricResults") or () if row["name"] == name), {"name": name})


def _wait(metric: Json, result: Json, run: Json) -> float | None:
    """Seconds until the metric is to be measured; None once it has been measured often enough."""
    done = result.get("measurements") or []
    if result.get("phase") in OVER:
        return None
    if not done:
        began = times.parse(run["metadata"]["creationTimestamp"])
        return began + canary.seconds(metric.get("initialDelay", 0)) - clock.wall()
    # A failed attempt without an interval is repeated after ten seconds, as the real one does.
    every = canary.seconds(metric.get("interval", 10))
    return times.parse(done[-1]["finishedAt"]) + every - clock.wall()


def _note(run: Json, metric: Json, row: Json) -> None:
    """Add one measurement to the run's status, in place."""
    status = copy(run.get("status") or {})
    result = _result(status, metric["name"])
    result["measurements"] = [*(result.get("measurements") or []), row]
    field = {"Successful": "successful", "Failed": "failed", "Error": "error", "Inconclusive": "inconclusive"}
    result[field[row["phase"]]] = result.get(field[row["phase"]], 0) + 1
    result["consecutiveError"] = result.get("consecutiveError", 0) + 1 if row["phase"] == "Error" else 0
    if row["phase"] != "Error":
        result["count"] = result.get("count", 0) + 1
    result["phase"] = _phase(metric, result)
    result["message"] = row["message"]
    others = [each for each in status.get("metricResults") or () if each["name"] != metric["name"]]
    status["metricResults"] = [*others, result]
    phases = {_result(status, each["name"]).get("phase", "Running") for each in run["spec"]["metrics"]}
    worst = next((each for each in ("Failed", "Error", "Inconclusive", "Running") if each in phases), "Successful")
    status["phase"], status["message"] = worst, ""
    if worst in ("Failed", "Error", "Inconclusive"):
        why = row["message"] or f"the last value was {row['value']}"
        status["message"] = f"Metric {metric['name']!r} assessed {worst}: {why}"
    run["status"] = status


def _phase(metric: Json, result: Json) -> str:
    if result.get("failed", 0) > int(metric.get("failureLimit", 0)):
        return "Failed"
    if result.get("inconclusive", 0) > int(metric.get("inconclusiveLimit", 0)):
        return "Inconclusive"
    if result["consecutiveError"] > int(metric.get("consecutiveErrorLimit", _ERRORS)):
        return "Error"
    wanted = int(metric.get("count", 0 if "interval" in metric else 1))
    return "Successful" if wanted and result.get("count", 0) >= wanted else "Running"
