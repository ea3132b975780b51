"""Jobs: pods that are to finish, counted and tried again.

Success and failure are counted from the pods that are there; a finished pod that somebody deletes is run again.
"""

from __future__ import annotations

from drillbook import clock
from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers import podset
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.deletion import DeleteOptions
from drillbook.sandbox.control.objects import (
    Json,
    annotations_of,
    condition_of,
    copy,
    dig,
    is_condition_true,
    is_deleting,
    name_of,
    namespace_of,
)
from drillbook.sandbox.control.registry import Registry, suffix

_INDEX = "batch.kubernetes.io/job-completion-index"
_BACKOFF, _MOST = 10.0, 600.0


class Jobs(Controller):
    resource = "jobs.batch"
    component = "job-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self._pods = registry.kinds.of_resource("pods")
        self.owner_listener("Job")

    def reconcile(self, namespace: str, name: str) -> float | None:
        job = self.registry.find(self.resource, namespace, name)
        if job is None or is_deleting(job):
            return None
        if is_condition_true(job, "Complete") or is_condition_true(job, "Failed"):
            return self._expire(job)
        spec = job["spec"]
        pods = podset.claim(self.registry, job, "pods")
        active = [pod for pod in pods if podset.is_active(pod)]
        succeeded = [pod for pod in pods if dig(pod, "status", "phase") == "Succeeded"]
        failed = [pod for pod in pods if dig(pod, "status", "phase") == "Failed"]
        status = copy(job.get("status") or {})
        status.setdefault("startTime", times.stamp())
        again: float | None = None
        verdict = self._verdict(job, status, active, succeeded, failed)
        if verdict is not None or spec.get("suspend"):
            self._delete(active)
            active = []
        else:
            wait = _backoff(failed)
            missing = self._missing(spec, active, succeeded)
            if missing > 0 and wait > 0:
                again = wait
            elif missing > 0:
                active += self._create(job, missing, active, succeeded)
            elif missing < 0:
                self._delete(active[:-missing])
        if spec.get("activeDeadlineSeconds") is not None and verdict is None:
            left = times.parse(status["startTime"]) + spec["activeDeadlineSeconds"] - clock.wall()
            again = min(left, again) if again is not None else left
        status |= {
            "ready": sum(1 for pod in active if podset.is_ready(pod)),
            "active": len(active),
            "succeeded": len(succeeded),
            "failed": len(failed),
        }
        status = {key: value for key, value in status.items() if value or key == "ready"}
        if verdict is not None:
            self._conclude(job, status, *verdict)
        if status != job.get("status"):
            self.registry.modify(self._kind, namespace, name, lambda fresh: fresh.update(status=status), "status")
        return again

    def _verdict(
        self, job: Json, status: Json, active: list[Json], succeeded: list[Json], failed: list[Json]
    ) -> tuple[str, str, str] | None:
        """(condition, reason, message) of a job that is over."""
        spec = job["spec"]
        wanted = spec.get("completions")
        if (wanted is not None and len(succeeded) >= wanted) or (wanted is None and succeeded and not active):
            return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
        restarts = sum(
            row.get("restartCount", 0) for pod in active for row in dig(pod, "status", "containerStatuses", default=[])
        )
        if len(failed) > spec["backoffLimit"] or (restarts > spec["backoffLimit"] > 0):
            return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and times.parse(status["startTime"]) + deadline <= clock.wall():
            return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
        return None

    def _missing(self, spec: Json, active: list[Json], succeeded: list[Json]) -> int:
        wanted = int(spec["parallelism"])
        if spec.get("completions") is not None:
            wanted = min(wanted, spec["completions"] - len(succeeded))
        elif succeeded:
            wanted = len(active)
        return wanted - len(active)

    def _create(self, job: Json, count: int, active: list[Json], succeeded: list[Json]) -> list[Json]:
        taken = {annotations_of(pod).get(_INDEX) for pod in [*active, *succeeded]}
        free = (str(number) for number in range(len(taken) + count) if str(number) not in taken)
        made = []
        for _ in range(count):
            pod = podset.pod_of(job["spec"]["template"], job)
            if job["spec"].get("completionMode") == "Indexed":
                index = next(free)
                pod["metadata"].setdefault("annotations", {})[_INDEX] = index
                pod["metadata"]["labels"][_INDEX] = index
                pod["metadata"]["name"] = f"{name_of(job)}-{index}-{suffix()}"
                for container in pod["spec"]["containers"]:
                    container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": index})
            made.append(self.registry.create(self._pods, namespace_of(job), pod).obj)
            self.recorder.normal(job, self.component, "SuccessfulCreate", f"Created pod: {name_of(made[-1])}")
        return made

    def _delete(self, pods: list[Json]) -> None:
        for pod in pods:
            self.registry.delete(self._pods, namespace_of(pod), name_of(pod))

    def _conclude(self, job: Json, status: Json, kind: str, reason: str, message: str) -> None:
        now = times.stamp()
        status["conditions"] = [
            *(status.get("conditions") or []),
            {
                "type": kind,
                "status": "True",
                "lastProbeTime": now,
                "lastTransitionTime": now,
                "reason": reason,
                "message": message,
            },
        ]
        if kind == "Complete":
            status["completionTime"] = now
            self.recorder.normal(job, self.component, "Completed", "Job completed")
        else:
            self.recorder.warning(job, self.component, reason, message)

    def _expire(self, job: Json) -> float | None:
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        done = condition_of(job, "Complete") or condition_of(job, "Failed")
        if seconds is None or done is None:
            return None
        left = times.parse(done["lastTransitionTime"]) + float(seconds) - clock.wall()
        if left > 0:
            return left
        self.registry.delete(self._kind, namespace_of(job), name_of(job), DeleteOptions(propagation="Background"))
        return None


def _backoff(failed: list[Json]) -> float:
    """Seconds until a failed pod may be replaced: 10 s after the first, doubling to 10 minutes."""
    if not failed:
        return 0.0
    ended = [
        text
        for pod in failed
        for row in dig(pod, "status", "containerStatuses", default=[])
        if (text := dig(row, "state", "terminated", "finishedAt"))
    ]
    last = max((times.parse(text) for text in ended), default=clock.wall())
    return max(0.0, last + float(min(_BACKOFF * 2 ** (len(failed) - 1), _MOST)) - clock.wall())
