"""Fields that a kind has not, or that are given twice: what ``fieldValidation`` says is done about them."""

from __future__ import annotations

import json
from importlib import resources

import field_table
import pytest

MISSPELT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine}
spec:
  replicaz: 3
  selector: {matchLabels: {app: engine}}
  template:
    metadata: {labels: {app: engine}}
    spec:
      containers:
      - {name: vllm, image: "sim:1", imagePullPolicee: Always}
"""
UNKNOWN = 'unknown field "spec.replicaz", unknown field "spec.template.spec.containers[0].imagePullPolicee"'
PLACE = "/apis/apps/v1/namespaces/default/deployments"


def test_the_table_is_that_of_the_official_client():
    lines = resources.files("drillbook.sandbox.control").joinpath("fields.jsonl").read_text().splitlines()
    assert [tuple(json.loads(line)) for line in lines] == field_table.rows(), field_table.__doc__


async def test_kubectl_refuses_them_in_a_servers_words(kubectl):
    out = await kubectl("apply", "-f", "-", stdin=MISSPELT, code=1)
    head = 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
    assert head + UNKNOWN in out
    assert "BadRequest" in out
    assert "NotFound" in await kubectl("get", "deploy", "engine", code=1)


async def test_kubectl_warns_of_them_or_says_nothing_as_it_is_told_and_they_are_dropped(kubectl):
    out = await kubectl("apply", "--validate=warn", "-f", "-", stdin=MISSPELT)
    assert 'Warning: unknown field "spec.replicaz"' in out
    spec = json.loads(await kubectl("get", "deploy", "engine", "-o", "json"))["spec"]
    assert "replicaz" not in spec
    assert spec["replicas"] == 1
    assert "imagePullPolicee" not in spec["template"]["spec"]["containers"][0]
    assert "Warning" not in await kubectl("apply", "--validate=ignore", "-f", "-", stdin=MISSPELT)


async def test_an_apply_over_what_is_there_is_refused_as_well(kubectl):
    await kubectl("apply", "-f", "-", stdin=MISSPELT.replace("replicaz", "replicas").replace("Policee", "Policy"))
    out = await kubectl("apply", "-f", "-", stdin=MISSPELT, code=1)
    assert "The request is invalid: patch: Invalid value: " in out
    assert 'unknown field "spec.replicaz"' in out
    out = await kubectl("apply", "--server-side", "-f", "-", stdin=MISSPELT, code=1)
    assert "failed to create typed patch object (default/engine; apps/v1, Kind=Deployment)" in out
    assert ".spec.replicaz: field not declared in schema" in out


@pytest.mark.parametrize(
    ("directive", "status", "warnings"),
    [
        ("Strict", 400, []),
        ("Warn", 201, ['299 - "duplicate field \\"spec.paused\\""']),
        ("", 201, ['299 - "duplicate field \\"spec.paused\\""']),
        ("Ignore", 201, []),
    ],
)
async def test_a_field_that_is_given_twice_is_found_and_the_last_one_counts(
    api, make_deployment, directive, status, warnings
):
    text = json.dumps(make_deployment("twice")).replace(
        '"replicas": 3', '"paused": true, "replicas": 3, "paused": false'
    )
    params = {"fieldValidation": directive} if directive else {}
    headers = {"Content-Type": "application/json"}
    async with api.session.post(api.url + PLACE, data=text, params=params, headers=headers) as answer:
        body = await answer.json()
    assert (answer.status, answer.headers.getall("Warning", [])) == (status, warnings)
    if status == 400:
        assert body["message"].endswith('strict decoding error: duplicate field "spec.paused"')
    else:
        assert body["spec"]["paused"] is False


async def test_a_directive_that_there_is_not_is_refused(api, make_deployment):
    params = {"fieldValidation": "Strictly"}
    async with api.session.post(api.url + PLACE, json=make_deployment("x"), params=params) as answer:
        assert answer.status == 422
        assert 'supported values: "Ignore", "Strict", "Warn"' in (await answer.json())["message"]


async def test_of_a_custom_resource_everything_is_kept(kubectl, api):
    group = {"kind": "LeaderWorkerSet", "apiVersion": "leaderworkerset.x-k8s.io/v1", "metadata": {"name": "g"}}
    out = await kubectl("apply", "-f", "-", stdin=json.dumps(group | {"spec": {"sise": 2}}), code=1)
    assert 'unknown field "spec.sise"' in out  # one that the sandbox brings along is known
    names = {"plural": "widgets", "kind": "Widget", "singular": "widget"}
    spec = {"group": "a.b", "scope": "Namespaced", "names": names}
    spec["versions"] = [{"name": "v1", "served": True, "storage": True}]
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    await kubectl("apply", "-f", "-", stdin=json.dumps(crd | {"metadata": {"name": "widgets.a.b"}, "spec": spec}))
    widget = {"apiVersion": "a.b/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"whatever": 1}}
    async with api.session.post(
        f"{api.url}/apis/a.b/v1/namespaces/default/widgets", json=widget, params={"fieldValidation": "Strict"}
    ) as answer:
        assert (await answer.json())["spec"] == {"whatever": 1}
