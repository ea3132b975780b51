"""What a new revision changes of a pod template: the fields to write, with what was there, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from drillbook.errors import UnsupportedError
from drillbook.faults import fields
from drillbook.faults.fields import Path
from drillbook.model.undo import ObjectRef, RestoreFields
from drillbook.targets.kube import Json

IMAGE = "registry.invalid/no-such-image:missing"
"""The top-level domain ``invalid`` never resolves (RFC 2606)."""
ARGUMENT = "--drillbook-no-such-option"
GARBAGE = "--load-format=dummy"
"""vLLM then fills the model with random weights: it starts, is Ready, and answers nonsense."""
ONE_BY_ONE = "--max-num-seqs=1"
"""vLLM then batches nothing: one alone is served as fast as ever, and many wait for one another."""
MARK = "drillbook.io/revision"
"""The label that is all that is new of a harmless revision."""
TEMPLATE = ("spec", "template", "spec", "containers")
How = Literal["image", "arguments", "slow-start", "slow", "garbage", "environment", "harmless"]


def words(options: Mapping[str, Any]) -> str:
    """For people."""
    delay, env = options["delay"], ", ".join(sorted(options["env"]))
    return {
        "image": f"the image {IMAGE}",
        "arguments": f"the argument {ARGUMENT}",
        "slow-start": f"a start of {delay} s",
        "slow": f"a revision that batches nothing ({ONE_BY_ONE})",
        "garbage": f"random weights ({GARBAGE})",
        "environment": f"other environment variables ({env})",
        "harmless": f"a revision that differs in nothing but a label ({MARK})",
    }[options["how"]]


def undo(ref: ObjectRef, now: Json, name: str, options: Mapping[str, Any]) -> RestoreFields:
    """What to put back.

    :raises UnsupportedError: this container gives no hold for it.
    """
    how: How = options["how"]
    containers = now["spec"]["template"]["spec"]["containers"]
    place = next((number for number, each in enumerate(containers) if each["name"] == name), None)
    if place is None:
        raise UnsupportedError(f"{ref} has no container {name}", hint=", ".join(each["name"] for each in containers))
    container, path = containers[place], (*TEMPLATE, place)
    if how == "image":
        return fields.undo(ref, now, {(*path, "image"): IMAGE})
    if how == "harmless":
        labels = now["spec"]["template"]["metadata"]["labels"]
        mark = ("spec", "template", "metadata", "labels", MARK)
        return fields.undo(ref, now, {mark: str(int(labels.get(MARK, 0)) + 1)})
    if how == "environment":
        return fields.undo(ref, now, _environment(container, path, options["env"]))
    if how == "slow-start":
        probe = next((each for each in ("startupProbe", "readinessProbe") if each in container), None)
        if probe is None:
            raise UnsupportedError(
                f"container {name} of {ref} has neither a startup nor a readiness probe: it is Ready at once",
                hint="how: image or how: arguments",
            )
        return fields.undo(ref, now, {(*path, probe, "initialDelaySeconds"): options["delay"]})
    command = [str(word) for word in container.get("command") or ()]
    if "-c" in command and command[0].rpartition("/")[2] in ("sh", "bash", "dash", "ash"):
        raise UnsupportedError(
            f"container {name} of {ref} runs a shell script: arguments would not reach the program",
            hint="how: image or how: slow-start",
        )
    added = {"garbage": GARBAGE, "slow": ONE_BY_ONE}.get(how, ARGUMENT)
    return fields.undo(ref, now, {(*path, "args"): [*(container.get("args") or ()), added]})


def _environment(container: Json, path: Path, wanted: Mapping[str, str]) -> dict[Path, Any]:
    """The values of variables that are there, each by itself; with others the list as a whole.

    :raises UnsupportedError: all of them have these values already, and nothing would be rolled out.
    """
    rows = container.get("env") or []
    places = {row["name"]: number for number, row in enumerate(rows) if "valueFrom" not in row}
    if all(name in places and rows[places[name]].get("value", "") == value for name, value in wanted.items()):
        raise UnsupportedError(f"container {container['name']} has these environment variables already")
    if wanted.keys() <= places.keys():
        return {(*path, "env", places[name], "value"): value for name, value in wanted.items()}
    kept = [row for row in rows if row["name"] not in wanted]
    return {(*path, "env"): [*kept, *({"name": name, "value": value} for name, value in wanted.items())]}
