"""The patch languages, each by its own rules."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drillbook.sandbox.control.jsonpatch import apply_json_patch, apply_merge_patch
from drillbook.sandbox.control.statuses import ApiError
from drillbook.sandbox.control.strategic import apply_strategic_patch

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc~/", max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc~/", max_size=2), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("abc~/", max_size=2), VALUES, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    return value


def merge_between(old: Any, new: Any) -> Any:
    """The merge patch that makes ``new`` of ``old``."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch = {key: None for key in old if key not in new}
    patch |= {
        key: merge_between(old[key], value) if key in old and isinstance(old[key], dict) else value
        for key, value in new.items()
        if key not in old or old[key] != value or type(old[key]) is not type(value)
    }
    return patch


@given(OBJECTS, OBJECTS)
@settings(max_examples=150, deadline=None)
def test_a_merge_patch_between_two_objects_makes_one_of_the_other(old, new):
    new = without_nulls(new)
    assert apply_merge_patch(old, merge_between(old, new)) == new


@given(OBJECTS)
@settings(max_examples=100, deadline=None)
def test_an_empty_patch_of_any_language_changes_nothing(obj):
    assert apply_merge_patch(obj, {}) == obj
    assert apply_json_patch(obj, []) == obj


def pointer(*parts: str) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


@given(OBJECTS, st.text("abc~/", max_size=2), VALUES)
@settings(max_examples=150, deadline=None)
def test_what_a_json_patch_adds_it_can_test_and_remove(obj, key, value):
    added = apply_json_patch(
        obj, [{"op": "add", "path": pointer(key), "value": value}, {"op": "test", "path": pointer(key), "value": value}]
    )
    assert added[key] == value
    removed = apply_json_patch(added, [{"op": "remove", "path": pointer(key)}])
    assert removed == {name: row for name, row in obj.items() if name != key}


@given(OBJECTS, VALUES)
@settings(max_examples=100, deadline=None)
def test_a_json_patch_never_changes_the_original(obj, value):
    before = apply_json_patch(obj, [])
    apply_json_patch(
        obj,
        [
            {"op": "add", "path": "/a", "value": value},
            {"op": "add", "path": "/b", "value": []},
            {"op": "add", "path": "/b/-", "value": value},
            {"op": "move", "from": "/b", "path": "/a"},
        ],
    )
    assert obj == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "add", "path": "/list/7", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/list/²", "value": 1},
        {"op": "move", "from": "/d", "path": "/d/inner"},
        {"op": "remove", "path": "/list/-"},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "copy", "path": "/x"},
        {"op": "move", "path": "/x"},
    ],
    ids=str,
)
def test_an_operation_that_cannot_be_done_is_refused(operation):
    with pytest.raises(ApiError):
        apply_json_patch({"a": 1, "list": [1, 2], "d": {}}, [operation])


def workload(**container: Any) -> Any:
    return {
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "a", "image": "x", "env": [{"name": "K", "value": "1"}]} | container,
                        {"name": "b", "image": "y"},
                    ],
                    "tolerations": [{"key": "old"}],
                }
            }
        }
    }


def containers(obj: Any) -> Any:
    return obj["spec"]["template"]["spec"]["containers"]


def patch_of(*rows: Any, **more: Any) -> Any:
    return {"spec": {"template": {"spec": {"containers": list(rows), **more}}}}


def test_a_strategic_patch_merges_containers_by_name_and_their_env_too():
    after = apply_strategic_patch(workload(), patch_of({"name": "a", "env": [{"name": "L", "value": "2"}]}))
    assert containers(after)[0] == {
        "name": "a",
        "image": "x",
        "env": [{"name": "K", "value": "1"}, {"name": "L", "value": "2"}],
    }
    assert containers(after)[1] == {"name": "b", "image": "y"}


def test_a_strategic_patch_replaces_lists_without_a_key():
    after = apply_strategic_patch(workload(), patch_of(tolerations=[{"key": "new"}]))
    assert after["spec"]["template"]["spec"]["tolerations"] == [{"key": "new"}]


def test_strategic_directives_delete_replace_retain_and_order():
    assert [
        row["name"]
        for row in containers(apply_strategic_patch(workload(), patch_of({"name": "a", "$patch": "delete"})))
    ] == ["b"]
    assert containers(apply_strategic_patch(workload(), patch_of({"$patch": "replace"}, {"name": "c"}))) == [
        {"name": "c"}
    ]
    ordered = patch_of({"name": "c"}, **{"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]})
    assert [row["name"] for row in containers(apply_strategic_patch(workload(), ordered))] == ["b", "c", "a"]
    strategy = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    after = apply_strategic_patch(strategy, {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
    assert after["spec"]["strategy"] == {"type": "Recreate"}
    labelled = {"metadata": {"labels": {"a": "1"}}}
    assert apply_strategic_patch(labelled, {"metadata": {"labels": {"$patch": "delete"}}}) == {"metadata": {}}


def test_finalizers_merge_as_a_set():
    meta = {"metadata": {"finalizers": ["a", "b"]}}
    assert apply_strategic_patch(meta, {"metadata": {"finalizers": ["b", "c"]}}) == {
        "metadata": {"finalizers": ["a", "b", "c"]}
    }
    assert apply_strategic_patch(meta, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}) == {
        "metadata": {"finalizers": ["b"]}
    }


def test_conditions_of_a_status_merge_by_type_and_ports_by_number():
    status = {"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]}}
    after = apply_strategic_patch(status, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert after["status"]["conditions"] == [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True"}]
    service = {"spec": {"ports": [{"port": 80, "name": "http"}]}}
    after = apply_strategic_patch(service, {"spec": {"ports": [{"port": 80, "targetPort": 8000}]}})
    assert after["spec"]["ports"] == [{"port": 80, "name": "http", "targetPort": 8000}]


def test_a_strategic_patch_without_its_key_is_refused():
    with pytest.raises(ApiError):
        apply_strategic_patch(workload(), patch_of({"image": "z"}))


async def test_each_language_is_chosen_by_its_content_type(api):
    path = "/api/v1/namespaces/default/configmaps/a"
    await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}, "data": {"x": "1", "y": "2"}})
    assert (await api.patch(path, {"data": {"x": None}}))["data"] == {"y": "2"}
    after = await api.patch(
        path,
        [{"op": "test", "path": "/data/y", "value": "2"}, {"op": "add", "path": "/data/z", "value": "3"}],
        "application/json-patch+json",
    )
    assert after["data"] == {"y": "2", "z": "3"}
    after = await api.patch(path, {"data": {"y": "5"}}, "application/strategic-merge-patch+json")
    assert after["data"] == {"y": "5", "z": "3"}
    for body, kind, code in (
        ({}, "text/plain", 415),
        ({}, "application/json-patch+json", 400),
        ([{"op": "test", "path": "/data/y", "value": "0"}], "application/json-patch+json", 422),
    ):
        with pytest.raises(AssertionError) as refused:
            await api.patch(path, body, kind)
        assert refused.value.code == code


async def test_a_patch_that_names_an_old_version_conflicts(api):
    path = "/api/v1/namespaces/default/configmaps/a"
    first = await api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    version = first["metadata"]["resourceVersion"]
    await api.patch(path, {"data": {"x": "1"}, "metadata": {"resourceVersion": version}})
    with pytest.raises(AssertionError) as refused:
        await api.patch(path, {"data": {"x": "2"}, "metadata": {"resourceVersion": version}})
    assert refused.value.code == 409


async def test_a_custom_resource_knows_no_strategic_merge(api):
    path = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets"
    template = {"spec": {"containers": [{"name": "a", "image": "b"}]}}
    await api.post(
        path, {"metadata": {"name": "a"}, "spec": {"replicas": 0, "leaderWorkerTemplate": {"workerTemplate": template}}}
    )
    with pytest.raises(AssertionError) as refused:
        await api.patch(f"{path}/a", {}, "application/strategic-merge-patch+json")
    assert refused.value.code == 415
