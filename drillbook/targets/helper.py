"""Helper pods: what no API call reaches, done on the victim's node by a pod that also takes it away again.

``manifest`` says exactly what will be created, so that a plan can show it; ``undo`` is written down before ``start``.
The pod clears by itself: on SIGTERM (its deletion), and after its seconds on its own monotonic clock. What it runs is
``drillbook.helper``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from typing import Any

import msgspec

from drillbook import __version__, clock
from drillbook.errors import RefusedError, UnsupportedError
from drillbook.model.plan import Call, Permission
from drillbook.model.undo import DeleteObject, ObjectRef, UndoOperation
from drillbook.targets import containers, paths
from drillbook.targets.answers import ApiError, NotFoundError
from drillbook.targets.kube import Kube
from drillbook.targets.target import Target

Json = dict[str, Any]

IMAGE = f"drillbook/drillbook:{__version__}"
CONTAINER = "helper"
COMPONENT = "app.kubernetes.io/component"
LABEL = "drillbook.dev/run"
GRACE = 30
"""Seconds between SIGTERM and SIGKILL: more than the helper tries to clear."""
LOOK_SECONDS = 0.2


def manifest(
    target: Target,
    *,
    run_id: str,
    purpose: str,
    argv: tuple[str, ...],
    near: Json,
    seconds: float,
    privileged: bool = True,
) -> Json:
    """The pod, whole and ready to be created; the same arguments give the same name.

    :param purpose: a word for its name: ``link``, ``signal``.
    :param argv: a program of ``drillbook.helper`` and its arguments as JSON.
    :param near: the pod on whose node it runs, as read.
    :param seconds: after which it clears by itself; the kubelet ends it some time later, should it not.
    """
    settings = target.spec.helper
    name = _name(run_id, purpose, argv, near)
    pod: Json = {
        "hostPID": True,
        "nodeName": near["spec"]["nodeName"],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "activeDeadlineSeconds": math.ceil(seconds) + 2 * GRACE,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image or IMAGE,
                "command": [settings.python, "-m", "drillbook.helper"],
                "args": ["--seconds", f"{seconds:g}", *argv],
                "securityContext": {"privileged": True, "runAsUser": 0} if privileged else {"runAsUser": 0},
            }
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": settings.namespace or target.namespace,
            "labels": labels("helper", run_id),
        },
        "spec": merge(pod, settings.pod),
    }


def call(manifest: Json) -> Call:
    """Its creation, for a plan."""
    path, meta = _pods(manifest), manifest["metadata"]
    return Call(
        verb="POST", path=path, body=json.dumps(manifest), why=f"start the {_component(manifest)} pod {meta['name']}"
    )


def permissions(manifest: Json) -> tuple[Permission, ...]:
    """What starting, hearing and ending it needs."""
    namespace = _namespace(manifest)
    verbs = ("get", "create", "delete")
    log = Permission(verb="get", group="", resource="pods", subresource="log", namespace=namespace)
    return (*(Permission(verb=verb, group="", resource="pods", namespace=namespace) for verb in verbs), log)


def undo(manifest: Json) -> UndoOperation:
    """What ends it and with it what it holds. Record this before ``start``: the name is known, the uid not yet."""
    meta = manifest["metadata"]
    ref = ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace=meta["namespace"], name=meta["name"], uid="")
    return DeleteObject(object=ref)


def labels(component: str, run_id: str) -> dict[str, str]:
    """What every pod of drillbook's own bears, and none of a target's."""
    return {"app.kubernetes.io/managed-by": "drillbook", COMPONENT: component, LABEL: _label(run_id)}


async def check(target: Target, manifest: Json) -> None:
    """Whether the target would take it; nothing is created (a server-side dry run).

    :raises UnsupportedError: the API server says no: admission, Pod Security, permissions.
    """
    try:
        await target.kube.json("POST", _pods(manifest), params={"dryRun": "All"}, body=manifest)
    except ApiError as error:
        raise UnsupportedError(
            f"a {_component(manifest)} pod is not allowed in namespace {_namespace(manifest)}: {error.message}",
            hint="privileged pods run where Pod Security allows them: target: {helper: {namespace: …}}",
        ) from error


async def start(target: Target, manifest: Json) -> ObjectRef:
    """Create it; it strikes as soon as it runs. Asking twice is harmless: the name is its own.

    :raises RefusedError: the API server says no.
    """
    return paths.pod_ref(await target.kube.create(_pods(manifest), manifest))


async def said(target: Target, ref: ObjectRef, seconds: float) -> list[Json]:
    """What the target's helper has told: see ``hear``."""
    return await hear(target.kube, ref, seconds)


async def hear(kube: Kube, ref: ObjectRef, seconds: float) -> list[Json]:
    """What it has told so far, once it has told anything, or has ended.

    :raises UnsupportedError: the helper says that this cannot be done here.
    :raises RefusedError: it failed, in its own words; it does not start; or it says nothing within ``seconds``.
    """
    until = clock.monotonic() + seconds
    while True:
        pod = await kube.find(paths.of(ref))
        if pod is None or pod["metadata"]["uid"] != ref.uid:
            raise RefusedError(f"the helper pod {ref.name} is gone")
        lines = await containers.lines(kube, ref, CONTAINER) if _has_begun(pod) else []
        for line in lines:
            if "error" in line:
                kind = UnsupportedError if line.get("unsupported") else RefusedError
                raise kind(f"{ref.name}: {line['error']}", str(line.get("hint", "")))
        if lines:
            return lines
        wrong = trouble(pod)
        if wrong or clock.monotonic() > until:
            where = f" on {node}" if (node := pod["spec"].get("nodeName")) else ""
            raise RefusedError(
                f"the {_component(pod)} pod {ref.name}{where} does not work: "
                f"{wrong or f'nothing within {seconds:.0f} s ({_standing(pod)})'}",
                hint="it needs an image with drillbook: target: {helper: {image: …}}" if where else "",
            )
        await asyncio.sleep(LOOK_SECONDS)


async def stop(target: Target, ref: ObjectRef, seconds: float = GRACE + 10.0) -> None:
    """Delete it and wait until it is gone: it clears first.

    :raises RefusedError: it is still there after ``seconds``.
    """
    until = clock.monotonic() + seconds
    try:
        await target.kube.delete(paths.of(ref), uid=ref.uid)
    except NotFoundError:
        return
    while (pod := await target.kube.find(paths.of(ref))) is not None and pod["metadata"]["uid"] == ref.uid:
        if clock.monotonic() > until:
            raise RefusedError(f"the helper pod {ref.name} does not end")
        await asyncio.sleep(LOOK_SECONDS)


def merge(base: Any, over: Any) -> Any:
    """``over`` laid over ``base``: objects key by key, lists of named things name by name, all else replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        both = base.keys() & over.keys()
        return {**base, **over, **{key: merge(base[key], over[key]) for key in both}}
    if _named(base) and _named(over):
        news = {each["name"]: each for each in over}
        kept = [merge(each, news.pop(each["name"], {})) for each in base]
        return [*kept, *news.values()]
    return over


def without_rights(pod: Json) -> Json:
    """What a helper's settings say of the pod, without what puts it on a node or raises its rights there."""
    return {key: value for key, value in pod.items() if key not in ("hostPID", "hostNetwork", "nodeName")}


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value)


def _name(run_id: str, purpose: str, argv: tuple[str, ...], near: Json) -> str:
    told = msgspec.json.encode([run_id, argv, near["metadata"]["uid"]])
    return f"drillbook-{purpose}-{hashlib.blake2b(told, digest_size=5).hexdigest()}"


def _label(run_id: str) -> str:
    return "".join(each if each.isalnum() or each in "-_." else "-" for each in run_id)[:63].strip("-_.")


def _namespace(manifest: Json) -> str:
    return str(manifest["metadata"]["namespace"])


def _component(manifest: Json) -> str:
    return str(manifest["metadata"]["labels"][COMPONENT])


def _pods(manifest: Json) -> str:
    return paths.pods(_namespace(manifest))


def _has_begun(pod: Json) -> bool:
    states = [status.get("state") or {} for status in pod.get("status", {}).get("containerStatuses") or []]
    return any("running" in state or "terminated" in state for state in states)


def trouble(pod: Json) -> str:
    """Why a helper will not tell anything any more; empty while it may."""
    status = pod.get("status", {})
    for row in status.get("containerStatuses") or []:
        state = row.get("state") or {}
        if "terminated" in state:
            ended = state["terminated"]
            return f"it ended with code {ended.get('exitCode')} ({ended.get('reason', '')}) without a word"
        waiting = state.get("waiting") or {}
        if waiting.get("reason", "") not in ("", "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    if status.get("phase") in ("Failed", "Succeeded"):
        return f"{status.get('reason', status['phase'])}: {status.get('message', '')}"
    return ""


def _standing(pod: Json) -> str:
    """How far it is: its phase, and why it has no node."""
    status = pod.get("status", {})
    why = [each.get("message", "") for each in status.get("conditions") or [] if each.get("status") == "False"]
    return ": ".join(filter(None, (f"phase {status.get('phase')}", *why[:1])))
