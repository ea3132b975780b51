from __future__ import annotations

import asyncio
import contextlib

import pytest

from drillbook.targets import paths
from drillbook.targets.answers import NotFoundError
from drillbook.targets.kube import Kube
from drillbook.targets.watching import Change, _differences, _note


def place(namespace: str) -> str:
    return paths.collection("v1", "configmaps", namespace)


class Listener:
    """Collects a watch in the background; ``until`` waits for what must come."""

    def __init__(self, kube: Kube, path: str, **selectors: str) -> None:
        self.changes: list[Change] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._listen(kube, path, selectors))

    async def _listen(self, kube: Kube, path: str, selectors: dict[str, str]) -> None:
        async for change in kube.watch(path, **selectors):
            self.changes.append(change)
            self._news.set()

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [
            (change.type, change.object["metadata"]["name"], change.object.get("data", {}).get("n", ""))
            for change in self.changes
            if change.type != "BOOKMARK"
        ]

    async def until(self, condition) -> None:
        async with asyncio.timeout(60):
            while not condition(self):
                self._news.clear()
                await self._news.wait()

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def put(kube: Kube, namespace: str, name: str, number: str) -> None:
    body = {"metadata": {"name": name}, "data": {"n": number}}
    await kube.patch(f"{place(namespace)}/{name}", {"apiVersion": "v1", "kind": "ConfigMap", **body}, "apply")


async def test_what_is_there_comes_first_then_each_change_once_and_in_order(kube, namespace):
    await put(kube, namespace, "old", "0")
    listener = Listener(kube, place(namespace))
    await listener.until(lambda it: any(change.type == "BOOKMARK" for change in it.changes))
    assert listener.told == [("PRESENT", "old", "0")]
    await put(kube, namespace, "new", "1")
    await put(kube, namespace, "new", "2")
    await kube.delete(f"{place(namespace)}/old")
    await listener.until(lambda it: len(it.told) >= 4)
    assert listener.told[1:] == [("ADDED", "new", "1"), ("MODIFIED", "new", "2"), ("DELETED", "old", "0")]
    await listener.close()


async def test_a_killed_api_server_costs_no_object_and_repeats_nothing(own_plane):
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await kube.create("/api/v1/namespaces", {"metadata": {"name": "llm"}})
        listener = Listener(kube, place("llm"))
        await listener.until(lambda it: it.changes)
        for number in range(3):
            await put(kube, "llm", f"cm-{number}", "before")
            await asyncio.to_thread(own_plane.kill)
            await asyncio.to_thread(own_plane.start)
            await put(kube, "llm", f"cm-{number}", "after")
        await listener.until(
            lambda it: {name for _, name, value in it.told if value == "after"} == {"cm-0", "cm-1", "cm-2"}
        )
        for number in range(3):
            # a server that has forgotten its history is listed again, and then two changes may come as one
            story = [(kind, value) for kind, name, value in listener.told if name == f"cm-{number}"]
            assert story in ([("ADDED", "before"), ("MODIFIED", "after")], [("ADDED", "after")])
        await listener.close()


async def test_a_watch_that_nobody_answers_at_first_says_so(shared_plane, kube):
    changes = kube.watch("/apis/no.such.group/v1/things")
    with pytest.raises(NotFoundError):
        await anext(changes)


def item(uid: str, version: str) -> dict:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": uid, "uid": uid, "resourceVersion": version}}


def test_a_new_list_tells_what_differs_and_what_vanished():
    known: dict = {}
    assert [c.type for c in _differences(known, [item("a", "1"), item("b", "2")], first=True)] == ["PRESENT", "PRESENT"]
    changes = _differences(known, [item("b", "5"), item("c", "6")], first=False)
    assert [(c.type, c.object["metadata"]["name"]) for c in changes] == [
        ("DELETED", "a"),
        ("MODIFIED", "b"),
        ("ADDED", "c"),
    ]
    assert _differences(known, [item("b", "5"), item("c", "6")], first=False) == []


def test_a_change_that_was_told_by_the_list_is_not_told_again():
    known: dict = {}
    _differences(known, [item("a", "7")], first=True)
    assert not _note(known, Change("ADDED", item("a", "7")))
    assert _note(known, Change("MODIFIED", item("a", "8")))
    assert _note(known, Change("DELETED", item("a", "9")))
    assert not _note(known, Change("DELETED", item("a", "9")))


async def test_a_version_that_is_too_old_is_answered_by_a_new_list(kube, namespace, monkeypatch):
    from drillbook.targets import watching
    from drillbook.targets.answers import GoneError

    await put(kube, namespace, "stays", "0")
    await put(kube, namespace, "goes", "0")
    real, broken = watching._stream, []

    async def stream(connection, path, params):
        if not broken:
            broken.append(params)
            await kube.delete(f"{place(namespace)}/goes")
            await put(kube, namespace, "stays", "1")
            raise GoneError("too old resource version", code=410)
        async for change in real(connection, path, params):
            yield change

    monkeypatch.setattr(watching, "_stream", stream)
    listener = Listener(kube, place(namespace))
    await listener.until(lambda it: len(it.told) >= 4)
    assert sorted(listener.told[:2]) == [("PRESENT", "goes", "0"), ("PRESENT", "stays", "0")]
    assert listener.told[2:] == [("DELETED", "goes", ""), ("MODIFIED", "stays", "1")]
    await listener.close()
