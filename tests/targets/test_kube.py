from __future__ import annotations

import asyncio
import json

import control_plane as planes
import pytest
import yaml

from drillbook.errors import DrillbookError, UnreachableError
from drillbook.model.plan import Permission
from drillbook.targets import paths
from drillbook.targets.answers import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    error_of,
)
from drillbook.targets.kube import REQUEST_SECONDS, Kube


def config_map(name: str, **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def place(namespace: str) -> str:
    return paths.collection("v1", "configmaps", namespace)


async def test_the_server_tells_its_version_and_the_context_its_namespace(kube):
    assert (await kube.version()).startswith("v1.")
    assert (kube.context, kube.namespace) == ("test", "llm")


async def test_an_object_is_created_read_replaced_patched_and_deleted(kube, namespace):
    made = await kube.create(place(namespace), config_map("one", a="1"))
    assert (await kube.get(f"{place(namespace)}/one"))["data"] == {"a": "1"}
    await kube.replace(f"{place(namespace)}/one", {**made, "data": {"a": "2"}})
    merged = await kube.patch(f"{place(namespace)}/one", {"data": {"b": "3"}})
    assert merged["data"] == {"a": "2", "b": "3"}
    patched = await kube.patch(f"{place(namespace)}/one", [{"op": "remove", "path": "/data/b"}], "json")
    assert patched["data"] == {"a": "2"}
    await kube.delete(f"{place(namespace)}/one")
    assert await kube.find(f"{place(namespace)}/one") is None


async def test_a_stale_replace_is_a_conflict_and_changes_nothing(kube, namespace):
    made = await kube.create(place(namespace), config_map("one", a="1"))
    await kube.patch(f"{place(namespace)}/one", {"data": {"a": "2"}})
    with pytest.raises(ConflictError) as caught:
        await kube.replace(f"{place(namespace)}/one", {**made, "data": {"a": "3"}})
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    assert (await kube.get(f"{place(namespace)}/one"))["data"] == {"a": "2"}


async def test_deleting_a_namesake_by_uid_is_refused(kube, namespace):
    old = await kube.create(place(namespace), config_map("one"))
    await kube.delete(f"{place(namespace)}/one", uid=old["metadata"]["uid"])
    await kube.create(place(namespace), config_map("one"))
    with pytest.raises(ConflictError):
        await kube.delete(f"{place(namespace)}/one", uid=old["metadata"]["uid"])
    assert await kube.find(f"{place(namespace)}/one") is not None


async def test_a_json_patch_whose_test_fails_is_refused_whole(kube, namespace):
    await kube.create(place(namespace), config_map("one", a="1"))
    patch = [{"op": "test", "path": "/data/a", "value": "9"}, {"op": "replace", "path": "/data/a", "value": "2"}]
    with pytest.raises(InvalidError):
        await kube.patch(f"{place(namespace)}/one", patch, "json")
    assert (await kube.get(f"{place(namespace)}/one"))["data"] == {"a": "1"}


async def test_what_is_missing_or_unknown_is_not_found(kube, namespace):
    with pytest.raises(NotFoundError):
        await kube.get(f"{place(namespace)}/nothing")
    with pytest.raises(NotFoundError):
        await kube.get("/apis/no.such.group/v1/things")


async def test_a_list_is_read_in_pages_and_each_item_says_what_it_is(kube, namespace, monkeypatch):
    monkeypatch.setattr("drillbook.targets.kube.PAGE", 3)
    for number in range(8):
        await kube.create(place(namespace), config_map(f"cm-{number}"))
    items = await kube.list(place(namespace))
    assert [item["metadata"]["name"] for item in items] == [f"cm-{number}" for number in range(8)]
    assert {(item["kind"], item["apiVersion"]) for item in items} == {("ConfigMap", "v1")}


async def test_selectors_choose_on_the_server(kube, namespace):
    await planes.make_pod(kube, "engine", namespace)
    await planes.make_pod(kube, "other", namespace, labels={"app": "other"})
    chosen = await kube.list(paths.pods(namespace), labels="app.kubernetes.io/component in (serving-engine)")
    assert [pod["metadata"]["name"] for pod in chosen] == ["engine"]
    chosen = await kube.list(paths.pods(namespace), fields="metadata.name=other")
    assert [pod["metadata"]["name"] for pod in chosen] == ["other"]


async def test_the_server_says_what_is_allowed(kube, namespace):
    assert await kube.can(Permission(verb="delete", group="", resource="pods", namespace=namespace))


async def test_nobody_listening_is_unreachable_with_a_way_on(shared_plane, tmp_path):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(shared_plane.kubeconfig.read_text().replace(str(shared_plane.port), "9"))
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        with pytest.raises(UnreachableError) as caught:
            await kube.version()
    assert "127.0.0.1:9" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "apiVersion: v1\nkind: Config\n", "a: &a [*a]"])
async def test_a_kubeconfig_that_is_none_is_unreachable_and_no_traceback(tmp_path, text):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(text)
    with pytest.raises(UnreachableError, match="kubeconfig"):
        await Kube.from_kubeconfig(kubeconfig)


async def test_a_missing_kubeconfig_or_context_is_unreachable(shared_plane, tmp_path):
    with pytest.raises(UnreachableError, match="nowhere"):
        await Kube.from_kubeconfig(tmp_path / "nowhere")
    with pytest.raises(UnreachableError, match="no-such"):
        await Kube.from_kubeconfig(shared_plane.kubeconfig, "no-such")


async def test_a_server_that_accepts_and_never_answers_is_unavailable_in_time(own_plane):
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        own_plane.freeze()
        began = asyncio.get_running_loop().time()
        with pytest.raises(UnavailableError):
            await kube.request("GET", "/version", timeout=0.5)
        assert asyncio.get_running_loop().time() - began < REQUEST_SECONDS  # its own time-out, not everybody's
        own_plane.thaw()
        assert await kube.version()


@pytest.mark.parametrize(
    ("code", "kind"),
    [(404, NotFoundError), (409, ConflictError), (400, ApiError), (429, UnavailableError), (503, UnavailableError)],
)
def test_each_answer_has_its_own_error_in_the_servers_words(code, kind):
    error = error_of(code, json.dumps({"kind": "Status", "message": "because", "reason": "Why"}), "GET /x")
    assert type(error) is kind
    assert "because" in str(error)
    assert isinstance(error, DrillbookError)


@pytest.mark.parametrize("body", [b"", b"<html>oops", b"[1]", b"null", b"\xff\xfe"])
def test_an_answer_that_is_no_status_object_still_makes_an_error(body):
    assert error_of(500, body, "GET /x").code == 500


SECRET = "planted-secret-4711"
NO_PEM = {"client-key-data": "cGxhbnRlZC00NzEx", "client-certificate-data": "cGxhbnRlZC00NzEx"}


def kubeconfig(server: str, user: dict[str, object]) -> str:
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    clusters = [{"name": "c", "cluster": {"server": server}}]
    document = {"clusters": clusters, "users": [{"name": "u", "user": user}], "contexts": [context]}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "c"} | document)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (kubeconfig(f"http://user:{SECRET}@127.0.0.1:9", {}), r"holds credentials: http://\*\*\*@127\.0\.0\.1:9"),
        (kubeconfig(f"http://127.0.0.1:9?token={SECRET}", {}), r"holds credentials: http://127\.0\.0\.1:9\?\*\*\*"),
        (f"users:\n- user: {{password: *{SECRET}}}\n", "no YAML at line 2, column 20"),
        (f"users:\n- user: {{password: !{SECRET} x}}\n", "no YAML at line 2, column 20"),
        (f"- {SECRET}\n", "not the form of a kubeconfig"),
        (kubeconfig("https://127.0.0.1:9", {"client-key-data": SECRET, "token": SECRET}), "base64"),
        (kubeconfig("https://127.0.0.1:9", NO_PEM), "none in PEM"),
        (kubeconfig("http://127.0.0.1:9", {"auth-provider": {"name": "oidc", "config": {"id-token": SECRET}}}), "form"),
    ],
    ids=["a password in the URL", "a key in the URL", "like an alias", "like a tag", "a list", "no base64", "no PEM",
         "no JWT"],
)  # fmt: skip
async def test_what_is_wrong_with_a_kubeconfig_is_told_without_what_it_holds(tmp_path, text, told):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(UnreachableError, match=told) as caught:
        await Kube.from_kubeconfig(path)
    assert SECRET not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("token", [f"{SECRET}\nX-Other: y", f"{SECRET}\0"], ids=["two lines", "NUL"])
async def test_a_token_that_no_header_can_hold_is_told_without_it(shared_plane, tmp_path, token):
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(shared_plane.url, {"token": token}))
    async with await Kube.from_kubeconfig(path) as kube:
        with pytest.raises(ForbiddenError, match="credentials cannot be sent") as caught:
            await kube.version()
    assert SECRET not in str(caught.value)
