"""PATCH by its content type: which of the patch languages, applied to which kinds."""

from __future__ import annotations

from typing import Any

from drillbook.sandbox.control import jsonpatch, statuses, strategic
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, copy

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_BUILTIN_CUSTOM = ("leaderworkerset.x-k8s.io",)


def is_custom(kind: Kind) -> bool:
    """Whether it would be a custom resource on a real cluster, which knows no strategic merge for those."""
    return kind.group in _BUILTIN_CUSTOM or ("." in kind.group and not kind.group.endswith(".k8s.io"))


def patched(kind: Kind, obj: Json, content_type: str, patch: Any) -> Json:
    """A patched copy of ``obj``. Raises ApiError 400, 415, 422."""
    if content_type == JSON_PATCH:
        result = jsonpatch.apply_json_patch(obj, patch)
    elif content_type == MERGE:
        result = jsonpatch.apply_merge_patch(copy(obj), patch)
    elif content_type == STRATEGIC and not is_custom(kind):
        result = strategic.apply_strategic_patch(copy(obj), patch)
    else:
        accepted = [JSON_PATCH, MERGE, APPLY] + ([] if is_custom(kind) else [STRATEGIC])
        raise statuses.unsupported_media(
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
        )
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise statuses.ApiError(422, "Invalid", "the patch leaves no object with metadata")
    return result
