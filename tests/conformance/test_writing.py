"""Writes: conflicts, patches, subresources, and the words of every refusal."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import pytest
import pytest_asyncio
from stage import Stage

from drillbook.model.plan import Permission
from drillbook.targets.answers import ApiError, ConflictError, InvalidError

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOBODY = "drillbook-conformance-nobody"
LEASES = "coordination.k8s.io/v1"


async def new_map(stage: Stage, name: str, **data: str) -> dict[str, Any]:
    return await stage.create("configmaps", {"metadata": {"name": name}, "data": data})


async def new_deployment(stage: Stage, name: str) -> dict[str, Any]:
    """A Deployment whose controller leaves it alone."""
    return await stage.deploy(name, 0, paused=True)


async def test_a_generated_name_gets_five_characters(stage):
    first, second = [await stage.create("configmaps", {"metadata": {"generateName": "made-"}}) for _ in range(2)]
    assert re.fullmatch(r"made-[a-z0-9]{5}", first["metadata"]["name"])
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_what_exists_cannot_be_created_again(stage):
    await new_map(stage, "twice")
    code, status = await stage.status_of("POST", stage.path("configmaps"), {"metadata": {"name": "twice"}})
    assert (code, status["reason"], status["status"]) == (409, "AlreadyExists", "Failure")
    assert status["message"] == 'configmaps "twice" already exists'
    assert status["details"] == {"name": "twice", "kind": "configmaps"}


async def test_what_is_not_there_is_said_by_name(stage):
    code, status = await stage.status_of("GET", stage.path("deployments", "absent", "apps/v1"))
    assert (code, status["reason"], status["message"]) == (404, "NotFound", 'deployments.apps "absent" not found')
    assert status["details"] == {"name": "absent", "group": "apps", "kind": "deployments"}


async def test_nothing_is_created_in_a_namespace_that_is_not_there(stage):
    code, status = await stage.status_of(
        "POST", "/api/v1/namespaces/drillbook-no-such/configmaps", {"metadata": {"name": "a"}}
    )
    assert (code, status["message"]) == (404, 'namespaces "drillbook-no-such" not found')


async def test_a_replacement_of_a_stale_version_is_a_conflict(stage):
    old = await new_map(stage, "stale", a="1")
    await stage.kube.replace(stage.path("configmaps", "stale"), old | {"data": {"a": "2"}})
    code, status = await stage.status_of("PUT", stage.path("configmaps", "stale"), old | {"data": {"a": "3"}})
    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Operation cannot be fulfilled on configmaps "stale": the object has been modified; please apply your changes '
        "to the latest version and try again"
    )
    body = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": "4"}}
    with pytest.raises(ConflictError):
        await stage.kube.patch(stage.path("configmaps", "stale"), body)
    assert (await stage.kube.get(stage.path("configmaps", "stale")))["data"] == {"a": "2"}


@pytest.mark.parametrize(("plural", "api"), [("configmaps", "v1"), ("leases", LEASES)])
async def test_of_many_who_swap_the_same_version_one_wins(stage, plural, api):
    field = "data" if plural == "configmaps" else "spec"
    key = "holder" if plural == "configmaps" else "holderIdentity"
    made = await stage.create(plural, {"metadata": {"name": "contended"}, field: {key: "nobody"}}, api)
    path = stage.path(plural, "contended", api)
    tries = [stage.kube.replace(path, made | {field: {key: f"runner-{number}"}}) for number in range(6)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    won = [answer for answer in answers if isinstance(answer, dict)]
    assert len(won) == 1
    assert all(isinstance(answer, ConflictError) for answer in answers if not isinstance(answer, dict))
    assert (await stage.kube.get(path))[field][key] == won[0][field][key]


async def test_a_lease_keeps_microseconds(stage):
    times = {"acquireTime": "2026-01-02T03:04:05.678901Z", "renewTime": "2026-01-02T03:04:05.000000Z"}
    body = {"metadata": {"name": "timed"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, **times}}
    made = await stage.create("leases", body, LEASES)
    assert {key: made["spec"][key] for key in times} == times


async def test_a_change_that_changes_nothing_keeps_the_version(stage):
    made = await new_map(stage, "same", a="1")
    again = await stage.kube.patch(stage.path("configmaps", "same"), {"data": {"a": "1"}})
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_dry_run_answers_and_stores_nothing(stage):
    body = {"metadata": {"name": "dry"}}
    made = await stage.kube.json("POST", stage.path("configmaps"), params={"dryRun": "All"}, body=body)
    assert made["metadata"]["uid"]
    assert await stage.kube.find(stage.path("configmaps", "dry")) is None


class TestPatches:
    async def test_merge_replaces_lists_and_removes_by_null(self, stage):
        await new_deployment(stage, "merged")
        path = stage.path("deployments", "merged", "apps/v1")
        await stage.kube.patch(path, {"metadata": {"annotations": {"a": "1", "b": "2"}}})
        container = stage.container("true") | {"name": "other"}
        body = {
            "metadata": {"annotations": {"a": None}},
            "spec": {"template": {"spec": {"containers": [container]}}},
        }
        patched = await stage.kube.patch(path, body)
        annotations = patched["metadata"]["annotations"]
        assert (annotations.get("a"), annotations["b"]) == (None, "2")
        assert [row["name"] for row in patched["spec"]["template"]["spec"]["containers"]] == ["other"]

    async def test_strategic_merges_containers_and_env_by_name(self, stage):
        await new_deployment(stage, "strategic")
        path = stage.path("deployments", "strategic", "apps/v1")

        def change(*rows: dict[str, Any]) -> dict[str, Any]:
            return {"spec": {"template": {"spec": {"containers": list(rows)}}}}

        await stage.kube.patch(path, change({"name": "main", "env": [{"name": "A", "value": "1"}]}), "strategic")
        extra = stage.container("true") | {"name": "extra"}
        row = {"name": "main", "env": [{"name": "B", "value": "2"}, {"name": "A", "$patch": "delete"}]}
        patched = await stage.kube.patch(path, change(row, extra), "strategic")
        rows = {row["name"]: row for row in patched["spec"]["template"]["spec"]["containers"]}
        assert set(rows) == {"main", "extra"}
        assert rows["main"]["env"] == [{"name": "B", "value": "2"}]
        assert rows["main"]["command"][:2] == ["sh", "-c"]

    async def test_a_failed_json_test_leaves_everything_as_it_was(self, stage):
        await new_map(stage, "tested", a="1", b="2")
        path = stage.path("configmaps", "tested")
        good = [
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "replace", "path": "/data/a", "value": "3"},
            {"op": "remove", "path": "/data/b"},
            {"op": "add", "path": "/metadata/labels", "value": {}},
            {"op": "add", "path": "/metadata/labels/x~1y", "value": "4"},
        ]
        patched = await stage.kube.patch(path, good, "json")
        assert (patched["data"], patched["metadata"]["labels"]) == ({"a": "3"}, {"x/y": "4"})
        with pytest.raises(InvalidError):
            await stage.kube.patch(path, good, "json")
        assert await stage.kube.get(path) == patched

    async def test_a_patch_of_an_unknown_type_is_refused(self, stage):
        await new_map(stage, "typed")
        path = stage.path("configmaps", "typed")
        code, status = await stage.status_of("PATCH", path, {}, content="application/strange+json")
        assert (code, status["reason"]) == (415, "UnsupportedMediaType")


class TestApply:
    async def test_two_managers_conflict_over_a_field_until_one_forces(self, stage):
        path = stage.path("configmaps", "applied")
        base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}}
        content = "application/apply-patch+yaml"
        code, made = await stage.status_of(
            "PATCH", path, base | {"data": {"a": "1", "b": "1"}}, content, fieldManager="one"
        )
        assert code == 201
        assert [row["operation"] for row in made["metadata"]["managedFields"]] == ["Apply"]
        mine = base | {"data": {"a": "2"}}
        code, status = await stage.status_of("PATCH", path, mine, content, fieldManager="two")
        assert (code, status["reason"]) == (409, "Conflict")
        cause = status["details"]["causes"][0]
        assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".data.a")
        assert 'conflict with "one"' in cause["message"]
        code, forced = await stage.status_of("PATCH", path, mine, content, fieldManager="two", force="true")
        assert (code, forced["data"]) == (200, {"a": "2", "b": "1"})

    async def test_what_a_manager_no_longer_applies_goes(self, stage):
        base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "withdrawn"}}
        path = stage.path("configmaps", "withdrawn")
        await stage.kube.patch(path, base | {"data": {"a": "1", "b": "1"}}, "apply")
        assert (await stage.kube.patch(path, base | {"data": {"a": "1"}}, "apply"))["data"] == {"a": "1"}

    async def test_a_later_update_is_recorded_under_its_manager(self, stage):
        base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "managed"}}
        await stage.kube.patch(
            stage.path("configmaps", "managed"), base | {"data": {"a": "1"}}, "apply", field_manager="x"
        )
        patched = await stage.kube.patch(
            stage.path("configmaps", "managed"), {"data": {"b": "2"}}, field_manager="drillbook"
        )
        rows = {row["manager"]: row for row in patched["metadata"]["managedFields"]}
        assert rows["drillbook"]["operation"] == "Update"
        assert rows["drillbook"]["fieldsV1"] == {"f:data": {"f:b": {}}}


class TestSubresources:
    async def test_status_and_spec_are_written_apart(self, stage):
        made = await new_deployment(stage, "apart")
        path = stage.path("deployments", "apart", "apps/v1")
        row = {"type": "Mine", "status": "True", "reason": "Said", "message": "so"}
        change = {"spec": {"minReadySeconds": 7}, "status": {"conditions": [row]}}
        after = await stage.kube.patch(f"{path}/status", change)
        assert after["spec"].get("minReadySeconds", 0) == 0
        assert {one["type"] for one in after["status"]["conditions"]} >= {"Mine"}
        after = await stage.kube.patch(path, {"spec": {"minReadySeconds": 3}, "status": {"replicas": 99}})
        assert after["spec"]["minReadySeconds"] == 3
        assert after["status"].get("replicas", 0) == 0
        assert after["metadata"]["generation"] == made["metadata"]["generation"] + 1

    async def test_the_generation_counts_changes_of_the_spec_alone(self, stage):
        made = await new_deployment(stage, "counted")
        path = stage.path("deployments", "counted", "apps/v1")
        after = await stage.kube.patch(path, {"metadata": {"labels": {"a": "b"}}})
        assert after["metadata"]["generation"] == made["metadata"]["generation"] == 1

    async def test_scale_reads_and_writes_replicas(self, stage):
        await new_deployment(stage, "scaled")
        path = stage.path("deployments", "scaled", "apps/v1")
        scale = await stage.kube.get(f"{path}/scale")
        assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
        assert scale["status"]["selector"] == "app=scaled"
        assert (await stage.kube.patch(f"{path}/scale", {"spec": {"replicas": 1}}))["spec"]["replicas"] == 1
        with pytest.raises(ConflictError):
            await stage.kube.replace(f"{path}/scale", scale)
        assert (await stage.kube.get(path))["spec"]["replicas"] == 1
        await stage.kube.delete(path)


def causes(status: dict[str, Any]) -> set[tuple[str, str]]:
    return {(row["reason"], row["field"]) for row in status["details"]["causes"]}


class TestRefusals:
    async def test_an_invalid_object_is_told_every_cause(self, stage):
        container = stage.container("true")
        body = {"metadata": {"name": "wrong"}, "spec": stage.pod_spec(container, container, {**container, "name": ""})}
        code, status = await stage.status_of("POST", stage.path("pods"), body)
        assert (code, status["reason"]) == (422, "Invalid")
        assert status["message"].startswith('Pod "wrong" is invalid: [spec.containers[1].name: Duplicate value: "main"')
        assert causes(status) == {
            ("FieldValueDuplicate", "spec.containers[1].name"),
            ("FieldValueRequired", "spec.containers[2].name"),
        }
        assert (status["details"]["name"], status["details"]["kind"]) == ("wrong", "Pod")

    async def test_a_selector_must_match_its_template_and_stays(self, stage):
        template = {"metadata": {"labels": {"a": "b"}}, "spec": stage.pod_spec(stage.container("true"))}
        body = {"metadata": {"name": "odd"}, "spec": {"selector": {"matchLabels": {"a": "c"}}, "template": template}}
        code, status = await stage.status_of("POST", stage.path("deployments", api="apps/v1"), body)
        assert code == 422
        assert causes(status) == {("FieldValueInvalid", "spec.template.metadata.labels")}
        assert status["message"].startswith('Deployment.apps "odd" is invalid: spec.template.metadata.labels: ')
        assert (status["details"]["group"], status["details"]["kind"]) == ("apps", "Deployment")
        await new_deployment(stage, "selecting")
        labels = {"app": "selecting", "more": "x"}
        change = {
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}},
        }
        path = stage.path("deployments", "selecting", "apps/v1")
        code, status = await stage.status_of("PATCH", path, change, "application/merge-patch+json")
        assert (code, causes(status)) == (422, {("FieldValueInvalid", "spec.selector")})
        assert "field is immutable" in status["message"]

    async def test_a_pods_command_cannot_be_changed(self, stage):
        await stage.run("fixed", spec={"nodeSelector": {"drillbook.io/no-such": "node"}})
        change = {"spec": {"containers": [{"name": "main", "command": ["true"]}]}}
        media = "application/strategic-merge-patch+json"
        code, status = await stage.status_of("PATCH", stage.path("pods", "fixed"), change, media)
        assert (code, causes(status)) == (422, {("FieldValueForbidden", "spec")})
        assert "pod updates may not change fields other than" in status["message"]

    async def test_names_and_labels_have_rules(self, stage):
        code, status = await stage.status_of("POST", stage.path("configmaps"), {"metadata": {"name": "Not_a_name"}})
        assert (code, causes(status)) == (422, {("FieldValueInvalid", "metadata.name")})
        body = {"metadata": {"name": "labelled", "labels": {"a": "white space"}}}
        code, status = await stage.status_of("POST", stage.path("configmaps"), body)
        assert (code, causes(status)) == (422, {("FieldValueInvalid", "metadata.labels")})

    async def test_a_path_that_is_none_is_a_404_and_a_verb_that_is_none_a_405(self, stage):
        code, status = await stage.status_of("GET", "/apis/drillbook.io/v1/nothings")
        assert code == 404
        code, status = await stage.status_of("PUT", stage.path("configmaps"), {})
        assert (code, status["reason"]) == (405, "MethodNotAllowed")

    async def test_an_object_must_lie_where_it_says(self, stage):
        body = {"metadata": {"name": "elsewhere", "namespace": "other"}}
        code, status = await stage.status_of("POST", stage.path("configmaps"), body)
        assert (code, status["reason"]) == (400, "BadRequest")


class TestPermissions:
    @pytest_asyncio.fixture(autouse=True, loop_scope="session")
    async def nobody_may_anything(self, stage):
        """With RBAC, who is bound to no role may nothing; in the sandbox, what is not denied is allowed."""
        if stage.simulated:
            rule = f"[{{user: {NOBODY}}}]"
            body = {"metadata": {"name": "sandbox-permissions", "namespace": "kube-system"}, "data": {"denied": rule}}
            with contextlib.suppress(ConflictError):
                await stage.kube.create("/api/v1/namespaces/kube-system/configmaps", body)

    async def test_who_may_not_is_told_what_by_whom_and_where(self, stage):
        code, status = await stage.status_of("GET", stage.path("pods"), user=NOBODY)
        assert (code, status["reason"]) == (403, "Forbidden")
        assert status["message"].startswith(
            f'pods is forbidden: User "{NOBODY}" cannot list resource "pods" in API group "" in the namespace '
            f'"{stage.namespace}"'
        )
        assert status["details"] == {"kind": "pods"}
        code, status = await stage.status_of("DELETE", stage.path("deployments", "x", "apps/v1"), user=NOBODY)
        assert (code, status["details"]) == (403, {"name": "x", "group": "apps", "kind": "deployments"})
        assert status["message"].startswith(f'deployments.apps "x" is forbidden: User "{NOBODY}" cannot delete')

    async def test_a_review_says_who_may_what(self, stage):
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        attributes = {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": stage.namespace}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        code, answer = await stage.status_of("POST", path, body, user=NOBODY)
        assert (code, answer["status"]["allowed"]) == (201, False)
        permission = Permission(verb="create", group="", resource="pods", subresource="exec", namespace=stage.namespace)
        assert await stage.kube.can(permission)


async def test_every_refusal_reaches_drillbook_with_code_and_reason(stage):
    with pytest.raises(ApiError) as refused:
        await stage.kube.get(stage.path("pods", "absent"))
    assert (refused.value.code, refused.value.reason) == (404, "NotFound")
