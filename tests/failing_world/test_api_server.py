"""An API server that is slow, overloaded, broken, or does not know us any more, between a run and its undo."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest
from faulty_proxy import Answer, Delay, FaultyProxy, Lost

from drillbook import clock
from drillbook.errors import DrillbookError, UndoError
from drillbook.model.experiment import TargetSpec
from drillbook.model.undo import EntryState, FieldChange, RestoreFields, UndoEntry
from drillbook.targets import paths
from drillbook.targets.answers import ForbiddenError, UnavailableError
from drillbook.targets.kube import Kube
from drillbook.targets.stack import stack_named
from drillbook.targets.target import Target
from drillbook.undo import recover
from drillbook.undo.record import UndoStore
from drillbook.undo.undo import undo_all


@pytest.fixture
def proxy(shared_plane):
    proxy = FaultyProxy(shared_plane.url)
    yield proxy
    proxy.close()


@pytest.fixture
async def through(proxy, tmp_path, namespace):
    """The API as drillbook sees it, through the proxy."""
    async with await Kube.from_kubeconfig(proxy.kubeconfig(tmp_path / "kubeconfig", namespace, "a-token")) as kube:
        yield kube


class Broken:
    """One field that was broken under a record, as a run would have."""

    def __init__(self, kube: Kube, through: Kube, namespace: str, folder) -> None:
        self.kube, self.through, self.namespace, self.folder = kube, through, namespace, folder
        self.place = f"/api/v1/namespaces/{namespace}/configmaps/victim"

    async def begin(self) -> Broken:
        body = {"metadata": {"name": "victim"}, "data": {"field": "old"}}
        await self.kube.create(self.place.removesuffix("/victim"), body)
        self.folder.mkdir()
        self.store = await UndoStore.create(self.through, self.namespace, "run-1", "A title", self.folder)
        return self

    async def entry(self) -> UndoEntry:
        field = FieldChange(path=("data", "field"), existed=True, before="old", wrote="new")
        reference = paths.ref(await self.kube.get(self.place), "configmaps")
        return UndoEntry(id="0-x", fault="x", operations=(RestoreFields(object=reference, fields=(field,)),))

    async def break_it(self) -> None:
        await self.store.arm(await self.entry())
        await self.through.patch(self.place, {"data": {"field": "new"}})

    async def field(self) -> str:
        return (await self.kube.get(self.place))["data"]["field"]


@pytest.fixture
async def broken(kube, through, namespace, tmp_path):
    return await Broken(kube, through, namespace, tmp_path / "run").begin()


async def test_an_overloaded_server_is_waited_for_as_it_asks(broken, proxy):
    """429 with Retry-After: the request was not looked at, so asking again can do no harm."""
    count = itertools.count()
    proxy.fault = lambda _method, _path: Answer(429, retry_after="1") if next(count) % 2 == 0 else None
    began = clock.monotonic()
    await broken.break_it()
    assert clock.monotonic() - began > 1.9
    (entry,) = await undo_all(broken.store, "runner", seconds=20)
    assert (entry.state, await broken.field()) == (EntryState.UNDONE, "old")


async def test_a_server_that_stays_overloaded_injects_nothing(broken, proxy):
    proxy.fault = lambda method, _path: Answer(429) if method in ("PUT", "PATCH") else None
    with pytest.raises(UnavailableError, match="429"):
        await broken.break_it()
    assert await broken.field() == "old"


@pytest.mark.parametrize("code", [500, 503, 0], ids=["500", "503", "connections that are closed"])
async def test_the_undo_outlasts_a_server_that_fails_for_a_while(broken, proxy, code):
    await broken.break_it()
    proxy.fault = lambda _method, _path: Answer(code)
    recovers = threading.Timer(1.5, lambda: setattr(proxy, "fault", lambda _method, _path: None))
    recovers.start()
    (entry,) = await undo_all(broken.store, "runner", seconds=20)
    assert (entry.state, await broken.field()) == (EntryState.UNDONE, "old")
    assert len(proxy.refused) > 2
    recovers.join()


async def test_a_slow_server_makes_the_undo_slow_and_no_more(broken, proxy):
    await broken.break_it()
    proxy.fault = lambda _method, _path: Delay(0.7)
    (entry,) = await undo_all(broken.store, "runner", seconds=30)
    assert (entry.state, await broken.field()) == (EntryState.UNDONE, "old")


async def test_a_server_that_never_comes_back_fails_the_undo_and_recover_mends_it(broken, proxy, kube, namespace):
    await broken.break_it()
    proxy.fault = lambda _method, _path: Answer(500)
    with pytest.raises(UndoError, match="cannot be written") as told:
        await undo_all(broken.store, "runner", seconds=1.0)
    assert "drillbook recover" in told.value.hint
    assert await broken.field() == "new"
    await recovered(kube, namespace, broken)


async def test_an_expired_token_fails_the_undo_at_once_and_another_s_recover_mends_it(broken, proxy, kube, namespace):
    await broken.break_it()
    proxy.fault = lambda _method, _path: Answer(401)
    with pytest.raises(ForbiddenError) as told:
        await undo_all(broken.store, "runner", seconds=20)
    assert "log in to the cluster again" in told.value.hint
    await recovered(kube, namespace, broken)


async def recovered(kube, namespace, broken) -> None:
    target = Target(kube, TargetSpec(namespace=namespace), namespace, stack_named("other"))
    found = await recover.find(target, broken.folder.parent.parent)
    (left,) = await recover.recover(target, found, force=True)
    assert not left.remains, left.summary
    assert await broken.field() == "old"


async def test_a_record_whose_answer_was_lost_arms_nothing_that_is_not_undone(broken, proxy):
    """The record was stored, and the runner was not told: it may not inject, and the undo finds nothing to put back."""
    proxy.fault = lambda method, _path: Lost() if method == "PUT" else None
    with pytest.raises(DrillbookError):
        await broken.break_it()
    proxy.fault = lambda _method, _path: None
    entries = await undo_all(broken.store, "runner", seconds=10)
    assert [entry.state for entry in entries] == [EntryState.UNDONE]
    assert await broken.field() == "old"
    assert broken.store.record.remaining == ()


async def test_an_undo_whose_answers_are_lost_is_found_done(broken, proxy):
    await broken.break_it()
    count = itertools.count()
    proxy.fault = lambda method, _path: Lost() if method != "GET" and next(count) < 3 else None
    (entry,) = await undo_all(broken.store, "runner", seconds=20)
    assert (entry.state, await broken.field()) == (EntryState.UNDONE, "old")


async def test_a_watch_that_is_closed_again_and_again_tells_every_change_once(through, proxy, kube, namespace):
    place = f"/api/v1/namespaces/{namespace}/configmaps"
    seen: list[str] = []

    async def follow() -> None:
        async for change in through.watch(place):
            if change.type != "BOOKMARK":
                seen.append(f"{change.type} {change.object['metadata']['name']}")

    following = asyncio.create_task(follow())
    wanted = []
    for number in range(8):
        await kube.create(place, {"metadata": {"name": f"c{number}"}})
        wanted.append(f"c{number}")
        await asyncio.sleep(0.1)
        proxy.close_watches()
    async with asyncio.timeout(60):
        while [each.partition(" ")[2] for each in seen] != wanted:
            assert not following.done(), following
            await asyncio.sleep(0.05)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
