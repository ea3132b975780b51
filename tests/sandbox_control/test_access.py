"""Permissions that a test takes away, and gives back."""

import json

import pytest

MAPS = "/api/v1/namespaces/kube-system/configmaps"
PODS = "/api/v1/namespaces/default/pods"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def deny(api, *rules):
    body = {"metadata": {"name": "sandbox-permissions"}, "data": {"denied": json.dumps(rules)}}
    admin = api.acting_as("system:admin")
    if await admin.exists(f"{MAPS}/sandbox-permissions"):
        await admin.put(f"{MAPS}/sandbox-permissions", body)
    else:
        await admin.post(MAPS, body)


async def may(api, verb, resource, subresource="", namespace="default", group=""):
    wanted = {"verb": verb, "resource": resource, "subresource": subresource, "group": group, "namespace": namespace}
    answer = await api.post(
        REVIEWS,
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted},
        },
    )
    return answer["status"]["allowed"]


@pytest.mark.parametrize(
    ("rule", "verb", "resource", "subresource"),
    [
        ({"verbs": ["delete"], "resources": ["pods"]}, "delete", "pods", ""),
        ({"resources": ["pods/exec"]}, "create", "pods", "exec"),
        (
            {"verbs": ["create"], "resources": ["pods/eviction"], "namespaces": ["default"]},
            "create",
            "pods",
            "eviction",
        ),
        ({"user": "robot", "groups": ["apps"]}, "patch", "deployments", ""),
    ],
    ids=["verb", "exec", "eviction in a namespace", "one user's group"],
)
async def test_what_is_denied_is_reviewed_so(api, rule, verb, resource, subresource):
    group = "apps" if resource == "deployments" else ""
    robot = api.acting_as("robot")
    assert await may(robot, verb, resource, subresource, group=group)
    await deny(api, rule)
    assert not await may(robot, verb, resource, subresource, group=group)
    assert await may(robot, "get", "pods", "log")
    await deny(api)
    assert await may(robot, verb, resource, subresource, group=group)


async def test_a_denied_request_is_a_real_forbidden_status(api, make_pod):
    await api.post(PODS, make_pod("a"))
    await deny(api, {"verbs": ["delete"], "resources": ["pods"]})
    with pytest.raises(AssertionError) as refused:
        await api.delete(f"{PODS}/a")
    assert refused.value.code == 403
    assert refused.value.status["reason"] == "Forbidden"
    assert refused.value.status["message"] == (
        'pods "a" is forbidden: User "sandbox-admin" cannot delete resource "pods" in API group "" in the namespace '
        '"default"'
    )
    assert refused.value.status["details"] == {"name": "a", "kind": "pods"}
    await api.acting_as("system:node:node-a").delete(f"{PODS}/a")


async def test_one_denied_user_does_not_bother_another(api):
    await deny(api, {"user": "robot", "verbs": ["list"]})
    await api.get(PODS)
    with pytest.raises(AssertionError):
        await api.acting_as("robot").get(PODS)


async def test_rules_that_cannot_be_read_deny_nothing(api):
    for text in ("{", "- surprise: yes", "just words"):
        body = {"metadata": {"name": "sandbox-permissions"}, "data": {"denied": text}}
        await api.call(
            "PATCH",
            f"{MAPS}/sandbox-permissions",
            {"apiVersion": "v1", "kind": "ConfigMap", **body},
            "application/apply-patch+yaml",
            fieldManager="t",
        )
        await api.get(PODS)
