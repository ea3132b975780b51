"""What a drill needs, looked at one by one: on this machine, and on a target. Touches nothing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from drillbook.errors import DrillbookError
from drillbook.experiments.plan import BASE_PERMISSIONS, placed, pod_is_ready
from drillbook.faults.fault import Draw, Fault
from drillbook.faults.registry import FAULTS
from drillbook.model.plan import Permission
from drillbook.targets.target import Target

OPTIONAL = {
    "garak": ("garak", "adversarial prompts from garak: pip install 'drillbook[garak]'"),
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
    checks = [
        Check("python", sys.version_info >= (3, 11), platform.python_version()),
        Check("sandbox", linux, isolation),
        Check("vllm-router", _program("vllm-router") is not None or None, _program("vllm-router") or "not installed"),
    ]
    for name, why in PROGRAMS.items():
        checks.append(Check(name, shutil.which(name) is not None or None, shutil.which(name) or f"not found; {why}"))
    for name, (module, hint) in OPTIONAL.items():
        there = importlib.util.find_spec(module) is not None
        checks.append(Check(name, there or None, "installed" if there else f"not installed; {hint}"))
    return checks


async def look_at(target: Target) -> list[Check]:
    """What a target is, what it allows, and which faults are possible there."""
    checks = [Check("target", True, target.label)]
    checks += [Check(name, True, value) for name, value in (await target.facts()).items()]
    engines = await target.pods("engine")
    ready = sum(pod_is_ready(pod) for pod in engines)
    checks.append(Check("engines ready", bool(engines) and ready == len(engines), f"{ready} of {len(engines)}"))
    try:
        checks.append(Check("endpoint", True, f"{await target.endpoint()} serves {await target.model()}"))
    except DrillbookError as error:
        checks.append(Check("endpoint", False, error.message))
    missing = await _missing(target, BASE_PERMISSIONS)
    checks.append(Check("permissions", not missing, _granted(missing)))
    for name, fault in FAULTS.items():
        checks.append(await _possible(name, fault, target))
    return checks


async def _possible(name: str, fault: Fault, target: Target) -> Check:
    """Whether the fault could be planned here with its default options, and lacks no permission."""
    needed = [key for key, field in fault.step.model_fields.items() if field.is_required() and key != "fault"]
    if needed:
        return Check(f"fault {name}", None, f"depends on {', '.join(needed)}: see `drillbook plan`")
    try:
        planned = await fault.plan(fault.step.model_validate({"fault": name}), 0, target, Draw(1))
    except DrillbookError as error:
        return Check(f"fault {name}", None, error.message)
    lacking = await _missing(target, planned.permissions)
    return Check(f"fault {name}", not lacking or None, _granted(lacking) if lacking else f"possible: {planned.summary}")


async def _missing(target: Target, needs: tuple[Permission, ...]) -> list[Permission]:
    return [need for need in needs if not await target.kube.can(placed(need, target.namespace))]


def _granted(missing: list[Permission]) -> str:
    return f"missing: {', '.join(map(str, missing))}" if missing else "all permissions granted"


def _program(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)
