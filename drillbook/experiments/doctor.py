"""What a drill needs, looked at one by one: on this machine, and on a target. Touches nothing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from drillbook.errors import DrillbookError
from drillbook.experiments.plan import BASE_PERMISSIONS, missing, pod_is_ready
from drillbook.faults.fault import Draw, Fault
from drillbook.faults.registry import FAULTS
from drillbook.model.plan import Permission
from drillbook.targets.target import Target

OPTIONAL = {
    "garak": ("garak", "adversarial prompts from garak: pip install 'drillbook[garak]'"),
    "prometheus": ("prometheus_api_client", "queries and alerts of Prometheus: pip install 'drillbook[prometheus]'"),
    "locust": ("locust", "load from many processes: pip install 'drillbook[locust]'"),
    "chaostoolkit": ("chaoslib", "Chaos Toolkit experiments: pip install 'drillbook[chaostoolkit]'"),
}
PROGRAMS = {
    "kubectl": "to look into the sandbox by hand",
    "prometheus": "PromQL probes in the sandbox",
}


@dataclass(frozen=True)
class Check:
    """One thing looked at. ``ok`` None: absent, and only some things need it."""

    name: str
    ok: bool | None
    detail: str


def machine() -> list[Check]:
    """What this machine can do by itself."""
    linux = sys.platform == "linux"
    root = linux and os.geteuid() == 0
    isolation = (
        "pods get network and PID namespaces of their own"
        if root
        else "not root: pods get loopback addresses; process faults need user namespaces"
        if linux
        else "the sandbox needs Linux"
    )
    router = _program("vllm-router")
    checks = [
        Check("python", sys.version_info >= (3, 11), platform.python_version()),
        Check("sandbox", linux, isolation),
        Check("vllm-router", bool(router) or None, router or "not installed; the sandbox needs it"),
    ]
    for name, why in PROGRAMS.items():
        checks.append(Check(name, shutil.which(name) is not None or None, shutil.which(name) or f"not found; {why}"))
    for name, (module, hint) in OPTIONAL.items():
        there = importlib.util.find_spec(module) is not None
        checks.append(Check(name, there or None, "installed" if there else f"not installed; {hint}"))
    return checks


async def look_at(target: Target) -> list[Check]:
    """What a target is, what it allows, and which faults are possible there. What cannot be seen is told."""
    checks = [Check("target", True, target.label)]
    try:
        checks += [Check(name, True, value) for name, value in (await target.facts()).items()]
    except DrillbookError as error:
        checks.append(Check("facts", False, error.message))
    checks.append(await _seen("engines ready", _engines(target)))
    checks.append(await _seen("endpoint", _endpoint(target)))
    checks.append(await _seen("permissions", _permissions(BASE_PERMISSIONS, target)))
    for name, fault in FAULTS.items():
        checks.append(await _possible(name, fault, target))
    return checks


async def _seen(name: str, look: Awaitable[tuple[bool, str]]) -> Check:
    try:
        return Check(name, *await look)
    except DrillbookError as error:
        return Check(name, False, error.message)


async def _engines(target: Target) -> tuple[bool, str]:
    engines = await target.pods("engine")
    ready = sum(map(pod_is_ready, engines))
    return bool(engines) and ready == len(engines), f"{ready} of {len(engines)}"


async def _endpoint(target: Target) -> tuple[bool, str]:
    return True, f"{await target.endpoint()} serves {await target.model()}"


async def _permissions(needs: tuple[Permission, ...], target: Target) -> tuple[bool, str]:
    lacking = await missing(needs, target)
    return not lacking, f"missing: {', '.join(map(str, lacking))}" if lacking else "all permissions granted"


async def _possible(name: str, fault: Fault, target: Target) -> Check:
    """Whether the fault could be planned here, and lacks no permission; what would reach it where it could not.

    Options that have no default are taken from the examples of the step.
    """
    given: dict[str, object] = {"fault": name}
    for key, field in fault.step.model_fields.items():
        if field.is_required() and key != "fault":
            if not field.examples:
                return Check(f"fault {name}", None, f"depends on {key}: see `drillbook plan`")
            given[key] = field.examples[0]
    try:
        step = fault.step.model_validate(given)
    except ValidationError as error:
        return Check(f"fault {name}", None, f"depends on its options: {error.errors()[0]['msg']}")
    try:
        planned = await fault.plan(step, 0, target, Draw(1))
        granted, told = await _permissions(planned.permissions, target)
    except DrillbookError as error:
        why = error.message.removeprefix(f"step 0 ({name}): ")
        return Check(f"fault {name}", None, f"not here: {why}{f' ({error.hint})' if error.hint else ''}")
    return Check(f"fault {name}", granted or None, f"possible: {planned.summary}" if granted else told)


def _program(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)
