"""Rollouts of Argo's shape, step by step, taken back when the analysis fails or nothing moves.

A canary gets its replicas step by step; blue/green has all of them at once, and gets the users at the end.
"""

from __future__ import annotations

import msgspec

from drillbook import clock
from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers import analysisruns, bluegreen, canary, podset, rollouts
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import (
    Json,
    annotations_of,
    copy,
    dig,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
)
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.statuses import ApiError
from drillbook.sandbox.control.store import Change

_SETS, _RUNS = "replicasets.apps", "analysisruns.argoproj.io"
_LATE = "ProgressDeadlineExceeded"


class ArgoRollouts(Controller):
    resource = "rollouts.argoproj.io"
    component = "rollouts-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        for resource in (_SETS, _RUNS):
            self.store.listen(resource, self._on_part)

    def _on_part(self, change: Change) -> None:
        self.enqueue_owner(change.obj, "Rollout")

    def reconcile(self, namespace: str, name: str) -> float | None:
        rollout = self.registry.find(self.resource, namespace, name)
        if rollout is None or is_deleting(rollout):
            return None
        sets = podset.claim(self.registry, rollout, _SETS)
        hashed = podset.safe_hash(msgspec.json.encode(rollout["spec"]["template"], order="sorted"))
        status = copy(rollout.get("status") or {})
        if status.get("currentPodHash") != hashed:
            rollout = self._begin(rollout, status, hashed)
        newest = _of(sets, hashed) or self._create(rollout, hashed)
        stable = _of(sets, status.get("stableRS") or "") or newest
        rest = [row for row in sets if row not in (newest, stable)]
        wanted = rollouts.replicas(rollout)
        back = stable is newest or bool(status.get("abort"))
        if back:
            sizes = {name_of(stable): wanted}
            going = rest if stable is newest else [*rest, newest]
            there = _available(stable)
            sizes |= {name_of(row): canary.leaving(wanted, there, rollouts.replicas(row)) for row in going}
            sizes |= {name_of(row): rollouts.replicas(row) for row in going if bluegreen.left(row)}
        else:
            percent = canary.weight(rollout, int(status.get("currentStepIndex", 0)))
            fresh, kept = canary.mixed(wanted, percent, _available(newest))
            kept = kept if bluegreen.strategy(rollout) is None else wanted
            sizes = {name_of(newest): fresh, name_of(stable): kept, **{name_of(row): 0 for row in rest}}
        self._resize(rollout, sizes)
        old = labels_of(stable)[canary.HASH]
        self._point_services(rollout, hashed, old)
        if bluegreen.strategy(rollout) is not None:
            status.setdefault("blueGreen", {}).update(activeSelector=old, previewSelector=hashed)
        sets = self.own(rollout, _SETS)
        again = self._advance(rollout, status, _of(sets, hashed) or newest, sets, settled=stable is newest)
        _count(rollout, status, _of(sets, hashed), sets)
        self._store(rollout, status)
        staying = (left for row in sets if rollouts.replicas(row) and (left := bluegreen.left(row)))
        return min((each for each in (again, *staying) if each is not None), default=None)

    def _begin(self, rollout: Json, status: Json, hashed: str) -> Json:
        """Another template than before: from the first step on."""
        for field in ("abort", "abortedAt", "message", "pauseConditions", "controllerPause", "canary", "blueGreen"):
            status.pop(field, None)
        status |= {"currentPodHash": hashed, "currentStepIndex": 0}
        _progress(status, "NewReplicaSetCreated", "a new revision")
        for run in self.own(rollout, _RUNS):
            if dig(run, "status", "phase") not in analysisruns.OVER:
                self.registry.delete(self.registry.kinds.of_resource(_RUNS), namespace_of(run), name_of(run))
        revision = str(int(annotations_of(rollout).get(canary.REVISION, 0)) + 1)

        def note(fresh: Json) -> None:
            fresh["metadata"].setdefault("annotations", {})[canary.REVISION] = revision

        return self.registry.modify(self._kind, namespace_of(rollout), name_of(rollout), note).obj

    def _create(self, rollout: Json, hashed: str) -> Json:
        template = copy(rollout["spec"]["template"])
        template["metadata"].setdefault("labels", {})[canary.HASH] = hashed
        selector = copy(rollout["spec"]["selector"])
        selector.setdefault("matchLabels", {})[canary.HASH] = hashed
        row: Json = {
            "metadata": {
                "name": f"{name_of(rollout)}-{hashed}",
                "labels": dict(template["metadata"]["labels"]),
                "annotations": {canary.REVISION: annotations_of(rollout)[canary.REVISION]},
                "ownerReferences": [owner_reference(rollout)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        }
        return self.registry.create(self.registry.kinds.of_resource(_SETS), namespace_of(rollout), row).obj

    def _resize(self, rollout: Json, sizes: dict[str, int]) -> None:
        kind = self.registry.kinds.of_resource(_SETS)
        for row in self.own(rollout, _SETS):
            before, size = rollouts.replicas(row), sizes.get(name_of(row), rollouts.replicas(row))
            if size == before:
                continue

            def resize(fresh: Json, size: int = size) -> None:
                fresh["spec"]["replicas"] = size

            self.registry.modify(kind, namespace_of(row), name_of(row), resize)
            message = f"Scaled ReplicaSet {name_of(row)} from {before} to {size}"
            self.recorder.normal(rollout, self.component, "ScalingReplicaSet", message)

    def _point_services(self, rollout: Json, newest: str, stable: str) -> None:
        """The Services that stand for the two revisions select the pods of each."""
        said = dig(rollout, "spec", "strategy", "canary", default={}) | (bluegreen.strategy(rollout) or {})
        new, old = ("canaryService", "previewService"), ("stableService", "activeService")
        for name, hashed in ((said.get(key), newest if key in new else stable) for key in (*new, *old)):
            service = self.registry.find("services", namespace_of(rollout), name) if name else None
            if service is None or dig(service, "spec", "selector", canary.HASH) == hashed:
                continue

            def point(fresh: Json, hashed: str = hashed) -> None:
                fresh["spec"].setdefault("selector", {})[canary.HASH] = hashed

            kind = self.registry.kinds.of_resource("services")
            self.registry.modify(kind, namespace_of(service), name_of(service), point)

    def _advance(self, rollout: Json, status: Json, newest: Json, sets: list[Json], *, settled: bool) -> float | None:
        """Change ``status`` in place; seconds until it is to be looked at again."""
        wanted, rows = rollouts.replicas(rollout), canary.steps(rollout)
        index = int(status.get("currentStepIndex", 0))
        others = rollouts.total([row for row in sets if row is not newest and not bluegreen.left(row)])
        whole = _available(newest) >= wanted and not others
        if status.get("abort"):
            status["phase"] = "Degraded"
            return None
        if settled or index >= len(rows):
            status["phase"] = "Healthy" if whole else "Progressing"
            if settled:
                status["currentStepIndex"] = len(rows)
            if whole:
                status |= {"stableRS": labels_of(newest)[canary.HASH], "message": ""}
                _progress(status, "NewReplicaSetAvailable", f"ReplicaSet {name_of(newest)} has successfully progressed")
                return None
            return None if settled else self._late(rollout, status)
        step = rows[index]
        if "pause" in step:
            return self._pause(status, step["pause"] or {}, canary.paused(rollout))
        if "promote" in step:
            return self._promote(rollout, status, newest, sets)
        if "analysis" in step:
            return self._analyse(rollout, status, newest, step["analysis"], index)
        if _available(newest) >= canary.size(wanted, canary.weight(rollout, index)):
            return _next(status)
        status["phase"], status["message"] = "Progressing", "more replicas need to be updated"
        return self._late(rollout, status)

    def _pause(self, status: Json, step: Json, reason: str) -> float | None:
        rows = status.get("pauseConditions")
        if not rows and status.pop("controllerPause", False):  # somebody cleared them: that is how one is promoted
            return _next(status)
        if not rows:
            rows = [{"reason": reason, "startTime": times.stamp()}]
            status |= {"pauseConditions": rows, "controllerPause": True}
        status["phase"], status["message"] = "Paused", reason
        if step.get("duration") is None:
            return None
        left = times.parse(rows[0]["startTime"]) + canary.seconds(step["duration"]) - clock.wall()
        if left > 0:
            return left
        del status["pauseConditions"], status["controllerPause"]
        return _next(status)

    def _promote(self, rollout: Json, status: Json, newest: Json, sets: list[Json]) -> float:
        """All users get the new revision; the old one stays for its delay."""
        stable = _of(sets, status.get("stableRS") or "")
        if stable is not None:
            self._keep(rollout, stable, aborted=False)
        status["stableRS"] = labels_of(newest)[canary.HASH]
        return _next(status)

    def _keep(self, rollout: Json, row: Json, *, aborted: bool) -> None:
        """Let replicas stay for their delay, where the strategy has one."""
        said = bluegreen.strategy(rollout)
        if said is None:
            return
        until = times.stamp(clock.wall() + bluegreen.delay(said, aborted=aborted))

        def note(fresh: Json) -> None:
            fresh["metadata"].setdefault("annotations", {})[bluegreen.DEADLINE] = until

        self.registry.modify(self.registry.kinds.of_resource(_SETS), namespace_of(row), name_of(row), note)

    def _analyse(self, rollout: Json, status: Json, newest: Json, step: Json, index: int) -> float | None:
        revision = annotations_of(rollout)[canary.REVISION]
        name = f"{name_of(rollout)}-{labels_of(newest)[canary.HASH]}-{revision}-{index}"
        run = self.registry.find(_RUNS, namespace_of(rollout), name)
        if run is None:
            run = self._start_analysis(rollout, status, newest, step, name)
        phase = str(dig(run, "status", "phase", default="Running"))
        if bluegreen.strategy(rollout) is None:
            status["canary"] = {"currentStepAnalysisRunStatus": {"name": name, "status": phase}}
        else:
            status.setdefault("blueGreen", {})["prePromotionAnalysisRunStatus"] = {"name": name, "status": phase}
        status["phase"], status["message"] = "Progressing", ""
        if phase == "Successful":
            return _next(status)
        if phase in ("Failed", "Error"):
            self._abort(rollout, status, str(dig(run, "status", "message", default=phase)))
        elif phase == "Inconclusive":
            status["phase"], status["message"] = "Paused", "InconclusiveAnalysisRun"
        return None

    def _start_analysis(self, rollout: Json, status: Json, newest: Json, step: Json, name: str) -> Json:
        found = [
            self.registry.get(
                self.registry.kinds.of_resource("analysistemplates.argoproj.io"),
                namespace_of(rollout),
                row["templateName"],
            ).obj
            for row in step.get("templates") or ()
        ]
        hashes = {"Latest": labels_of(newest)[canary.HASH], "Stable": str(status.get("stableRS"))}
        given = {
            row["name"]: row.get("value", hashes.get(dig(row, "valueFrom", "podTemplateHashValue", default="")))
            for row in step.get("args") or ()
        }
        wanted = [row for template in found for row in template["spec"].get("args") or ()]
        run: Json = {
            "metadata": {
                "name": name,
                "labels": {canary.HASH: hashes["Latest"]},
                "ownerReferences": [owner_reference(rollout)],
            },
            "spec": {
                "metrics": [copy(metric) for template in found for metric in template["spec"]["metrics"]],
                "args": [{"name": row["name"], "value": given.get(row["name"], row.get("value"))} for row in wanted],
            },
            "status": {"phase": "Running"},
        }
        return self.registry.create(self.registry.kinds.of_resource(_RUNS), namespace_of(rollout), run).obj

    def _late(self, rollout: Json, status: Json) -> float | None:
        """Seconds until the progress deadline; past it the rollout is Degraded, and taken back where that is wanted."""
        limit = int(rollout["spec"].get("progressDeadlineSeconds", 600))
        row = next(row for row in status["conditions"] if row["type"] == "Progressing")
        left = times.parse(row["lastUpdateTime"]) + limit - clock.wall()
        if left > 0:
            return left + 0.5
        _progress(status, _LATE, f"Rollout {name_of(rollout)} has timed out progressing")
        status["phase"], status["message"] = "Degraded", f"{_LATE}: no progress in {limit} s"
        if rollout["spec"].get("progressDeadlineAbort"):
            self._abort(rollout, status, status["message"])
        return None

    def _abort(self, rollout: Json, status: Json, why: str) -> None:
        revision = annotations_of(rollout)[canary.REVISION]
        message = f"RolloutAborted: Rollout aborted update to revision {revision}: {why}"
        newest = _of(self.own(rollout, _SETS), str(status["currentPodHash"]))
        if newest is not None:
            self._keep(rollout, newest, aborted=True)
        status |= {"abort": True, "abortedAt": times.stamp(), "phase": "Degraded", "message": message}
        self.recorder.warning(rollout, self.component, "RolloutAborted", message)
        self.enqueue((namespace_of(rollout), name_of(rollout)))

    def _store(self, rollout: Json, status: Json) -> None:
        if status == rollout.get("status"):
            return
        try:
            self.registry.modify(
                self._kind, namespace_of(rollout), name_of(rollout), lambda fresh: fresh.update(status=status), "status"
            )
        except ApiError as refusal:
            if refusal.reason != "NotFound":
                raise


def _of(sets: list[Json], hashed: str) -> Json | None:
    return next((row for row in sets if labels_of(row).get(canary.HASH) == hashed), None)


def _available(row: Json) -> int:
    return int(dig(row, "status", "availableReplicas", default=0))


def _next(status: Json) -> float:
    """The next step, at once."""
    status["currentStepIndex"] = int(status.get("currentStepIndex", 0)) + 1
    _progress(status, "RolloutStepCompleted", f"step {status['currentStepIndex']} begins")
    return 0.0


def _progress(status: Json, reason: str, message: str) -> None:
    """The Progressing condition, from whose last update the deadline counts."""
    before: Json = next((row for row in status.get("conditions") or () if row["type"] == "Progressing"), {})
    if (before.get("reason"), before.get("message")) == (reason, message):
        return
    row = {"type": "Progressing", "status": str(reason != _LATE), "reason": reason, "message": message,
           "lastUpdateTime": times.stamp(), "lastTransitionTime": times.stamp()}  # fmt: skip
    status["conditions"] = [each for each in status.get("conditions") or () if each["type"] != "Progressing"] + [row]


def _count(rollout: Json, status: Json, newest: Json | None, sets: list[Json]) -> None:
    status |= {
        "replicas": rollouts.status_sum(sets, "replicas"),
        "updatedReplicas": rollouts.status_sum([newest] if newest else [], "replicas"),
        "readyReplicas": rollouts.status_sum(sets, "readyReplicas"),
        "availableReplicas": rollouts.status_sum(sets, "availableReplicas"),
        "observedGeneration": str(rollout["metadata"].get("generation", 1)),
    }
