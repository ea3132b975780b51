"""Measurements by the provider ``job``: a Job is run, and how it ends is the judgement.

So a suite of tests is a metric: its exit code promotes a revision or takes it back
(https://argo-rollouts.readthedocs.io/en/stable/analysis/job/).
"""

from __future__ import annotations

import asyncio

from drillbook.sandbox.control.objects import (
    Json,
    condition_of,
    copy,
    is_condition_true,
    name_of,
    namespace_of,
    owner_reference,
)
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.statuses import ApiError
from drillbook.sandbox.control.store import Change

_JOBS = "jobs.batch"
_GONE = "the Job was deleted"


class AnalysisJobs:
    """Runs the Jobs of AnalysisRuns, and hears of their ends."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._waiting: dict[tuple[str, str], asyncio.Future[tuple[str, str]]] = {}
        registry.store.listen(_JOBS, self._on_job)

    async def measure(self, run: Json, metric: Json, number: int) -> tuple[str, str]:
        """Phase and message of measurement ``number``. One that a former control plane began is waited for.

        :raises ValueError: the Job is refused, or deleted before its end.
        """
        name = f"{name_of(run)}-{metric['name']}-{number}"
        key = namespace_of(run), name
        self._waiting[key] = ended = asyncio.get_running_loop().create_future()
        try:
            self._start(run, metric["provider"]["job"], name)
            there = self._registry.find(_JOBS, *key)
            verdict = _verdict(there) if there is not None else ("", _GONE)
            phase, message = verdict or await ended
        finally:
            del self._waiting[key]
        if not phase:
            raise ValueError(message)
        return phase, message

    def _start(self, run: Json, said: Json, name: str) -> None:
        metadata = copy(said.get("metadata") or {}) | {"name": name, "ownerReferences": [owner_reference(run)]}
        job: Json = {"metadata": metadata, "spec": copy(said["spec"])}
        try:
            self._registry.create(self._registry.kinds.of_resource(_JOBS), namespace_of(run), job)
        except ApiError as refusal:
            if refusal.reason != "AlreadyExists":
                raise ValueError(refusal.message) from None

    def _on_job(self, change: Change) -> None:
        ended = self._waiting.get((namespace_of(change.obj), name_of(change.obj)))
        if ended is None or ended.done():
            return
        if change.type == "DELETED":
            ended.set_result(("", _GONE))
        elif verdict := _verdict(change.obj):
            ended.set_result(verdict)


def _verdict(job: Json) -> tuple[str, str] | None:
    """Phase and message once the Job is over."""
    if is_condition_true(job, "Complete"):
        return "Successful", ""
    if is_condition_true(job, "Failed"):
        failed: Json = condition_of(job, "Failed") or {}
        return "Failed", f"Job {name_of(job)}: {failed.get('message')}"
    return None
