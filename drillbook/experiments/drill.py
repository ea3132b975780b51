"""From an experiment and a target to a finished run folder: all that a run needs, brought up and taken down in order.

Lease, undo record and watchdog are in place before the first request is sent; the load and the instruments before the
baseline. They go in the opposite order, and the watchdog is told goodbye only once nothing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import drillbook
from drillbook import clock
from drillbook.adversarial.config import AttackerConfig
from drillbook.adversarial.runner import Attacker
from drillbook.errors import DrillbookError, PreflightError, UndoError, UsageError
from drillbook.experiments import plan as plans
from drillbook.experiments.injection import Injector
from drillbook.experiments.load import Loaded
from drillbook.experiments.plan import Watched
from drillbook.experiments.recorder import Recorder, Sink
from drillbook.experiments.run import Run
from drillbook.load import engines
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import Generator
from drillbook.model.events import Phase, PhaseStarted, Planned, RunStarted
from drillbook.model.plan import Plan
from drillbook.model.undo import LOAD, UndoEntry
from drillbook.model.verdict import RunStatus, UndoState
from drillbook.probes.collectors import observers
from drillbook.probes.collectors.evidence import EvidenceKeeper
from drillbook.probes.names import ATTACKER
from drillbook.targets.target import Target
from drillbook.undo import lease as leases
from drillbook.undo.keeper import Keeper
from drillbook.undo.record import FencedError, UndoStore
from drillbook.undo.undo import undo_entry
from drillbook.undo.watchdog_pod import WatchdogPod

T = TypeVar("T")


async def resolve(loaded: Loaded, target: Target, *, seed: int, run_id: str = "dry-run") -> Plan:
    """What a run would do. Touches nothing.

    Raises:
        PreflightError: it cannot be done there.

    """
    return await plans.resolve(loaded, target, run_id=run_id, seed=seed)


async def drill(
    loaded: Loaded,
    target: Target,
    runs: Path,
    *,
    seed: int,
    redact: bool = False,
    sinks: tuple[Sink, ...] = (),
    watchdog: Watched = "auto",
    on_wait: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the experiment; the run folder holds everything that is to be known of it.

    ``watchdog``: ``pod`` has one at the target beside the one on this machine, ``auto`` has it on a cluster that allows
    it.

    ``redact`` keeps the words of adversarial prompts and of their answers out of it.

    Cancelling this ends the run early: it undoes first, and then gives the folder as usual. Before the run has begun it
    only cancels.

    Raises:
        PreflightError: known before anything was touched; there is no run folder.
        UsageError: the same, for a folder that cannot be made or a probe that is not trusted.
        UndoError: something may be left, and the journal could not be written.

    """
    run_id = new_run_id()
    plan, checks = await plans.prepare(loaded, target, run_id=run_id, seed=seed)
    guard = await plans.guard(target, watchdog)
    checks.append(guard)
    if not guard.ok:
        raise PreflightError(f"watchdog: {guard.detail}", hint="--watchdog local, or see docs/clusters.md")
    async with AsyncExitStack() as stack:
        async with _nothing_broken_yet(stack):
            lease = await _enter(stack, _held(target, run_id, on_wait))
            folder = new_folder(runs, loaded.path.stem)
        async with _nothing_broken_yet(stack, folder):
            recorder = Recorder(folder, sinks)
            stack.callback(recorder.close)
            recorder.emit(await _start_line(loaded, target, run_id), sync=True)
            recorder.emit(PhaseStarted(phase=Phase.PREFLIGHT))
            for check in checks:
                recorder.emit(check)
            recorder.emit(Planned(plan=plan), sync=True)
            evidence = EvidenceKeeper(target.kube, folder, recorder.emit)
            looking = await observers(loaded.experiment, target, recorder.emit, evidence)
            store = await _enter(stack, _guarded(loaded, target, run_id, folder, lease, plans.is_pod(guard)))
            load = target.traffic = await _enter(stack, _generator(loaded, target, store, folder, seed))
            configs = await _attacks(loaded, target, folder, redact=redact)
            attackers = [await _enter(stack, Attacker(config)) for config in configs]
        point_latest(folder)
        injector = Injector(plan, target, store, recorder, evidence)
        run = Run(
            loaded.experiment,
            recorder=recorder,
            injector=injector,
            load=load,
            observers=looking,
            attackers=attackers,
        )
        lost = asyncio.create_task(_stop_when_lost(lease, run), name="lease lost")
        stack.callback(lost.cancel)
        ended = await run.execute()
    if recorder.failure is not None:
        if ended.undo is UndoState.REMAINS:
            raise UndoError(f"the undo failed, and {recorder.failure}", hint="drillbook recover")
        raise recorder.failure
    return folder


@contextlib.asynccontextmanager
async def _nothing_broken_yet(stack: AsyncExitStack, folder: Path | None = None) -> AsyncIterator[None]:
    """Whatever fails in here fails the preflight: what was brought up is taken down, and no run folder stays."""
    try:
        yield
    except BaseException as error:  # Ctrl-C too: nothing is broken yet, so nothing needs to stay
        await stack.aclose()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()  # where this would have been its first run
        if isinstance(error, DrillbookError) and not isinstance(error, UsageError | PreflightError):
            raise PreflightError(error.message, error.hint) from error
        raise


async def _enter(stack: AsyncExitStack, manager: AbstractAsyncContextManager[T]) -> T:
    """Enter it whole, and be cancelled only then: what was entered by half could not be left again."""
    entering = asyncio.create_task(stack.enter_async_context(manager))
    cancelled: asyncio.CancelledError | None = None
    while not entering.done():
        try:
            await asyncio.wait([entering])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return entering.result()


def new_run_id() -> str:
    """Sortable by time, unlike any other: ``20261121-210458-3f2a``."""
    return f"{_utc():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def new_folder(runs: Path, experiment: str) -> Path:
    """A new folder ``runs/<experiment>/<time>``.

    Raises:
        UsageError: it cannot be made.

    """
    parent = runs / (re.sub(r"[^A-Za-z0-9._-]+", "-", experiment) or "experiment")
    stamp = f"{_utc():%Y-%m-%dT%H-%M-%S}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for suffix in ["", *(f".{number}" for number in range(2, 100))]:
            with contextlib.suppress(FileExistsError):
                (parent / (stamp + suffix)).mkdir()
                return parent / (stamp + suffix)
        raise UsageError(f"there are a hundred runs of this second in {parent}")
    except OSError as error:
        hint = "choose another with --runs"
        raise UsageError(f"cannot make a run folder in {runs}: {error.strerror}", hint=hint) from None


def point_latest(folder: Path) -> None:
    """Let ``latest`` beside the folder lead to it; a file of that name that is no link of ours stays."""
    latest = folder.parent / "latest"
    draft = folder.parent / f".latest.{folder.name}"
    if latest.is_symlink() or not latest.exists():
        with contextlib.suppress(OSError):
            draft.symlink_to(folder.name)
            draft.replace(latest)


def _utc() -> datetime:
    return datetime.fromtimestamp(clock.wall(), UTC)


async def _start_line(loaded: Loaded, target: Target, run_id: str) -> RunStarted:
    return RunStarted(
        run_id=run_id,
        drillbook=drillbook.__version__,
        experiment=loaded.experiment.model_dump(mode="json", by_alias=True),
        source=loaded.source,
        path=str(loaded.path),
        sha256=loaded.sha256,
        target=target.label,
        stack=target.stack.name,
        simulated=target.simulated,
        endpoint=await target.endpoint(),
        facts={**await target.facts(), "model": await target.model()},
    )


@contextlib.asynccontextmanager
async def _held(target: Target, run_id: str, on_wait: Callable[[str], None]) -> AsyncIterator[leases.TargetLease]:
    lease = await leases.acquire(target.kube, target.namespace, run_id, on_wait=on_wait)
    try:
        yield lease
    finally:
        await lease.release()


@contextlib.asynccontextmanager
async def _guarded(
    loaded: Loaded, target: Target, run_id: str, folder: Path, lease: leases.TargetLease, as_pod: bool
) -> AsyncIterator[UndoStore]:
    """The undo record, and watchdogs over it that stay behind while anything remains to be undone."""
    store = await UndoStore.create(target.kube, target.namespace, run_id, loaded.experiment.title, folder)
    keeper: Keeper | None = None
    pod: WatchdogPod | None = None
    try:
        keeper = await Keeper.start(
            run_id=run_id,
            namespace=target.namespace,
            kubeconfig=target.kubeconfig,
            context=target.context,
            folder=folder,
        )
        pod = await WatchdogPod.start(target, store) if as_pod else None
        store.fence = _fence(lease, keeper)
        yield store
    finally:
        try:
            await store.close("runner")
            await store.remove()
        except DrillbookError:
            if keeper is not None:
                keeper.abandon()
        else:
            if pod is not None:
                await pod.goodbye()
            if keeper is not None:
                await keeper.goodbye()


def _fence(lease: leases.TargetLease, keeper: Keeper) -> Callable[[], None]:
    """What must be so at the very moment of an injection."""

    def check() -> None:
        lease.check()
        if not keeper.alive:
            raise FencedError(
                "the watchdog has died; nothing is injected without it", hint="start the experiment again"
            )

    return check


@contextlib.asynccontextmanager
async def _generator(
    loaded: Loaded, target: Target, store: UndoStore, folder: Path, seed: int
) -> AsyncIterator[Generator]:
    spec = loaded.experiment.load.model_copy(update={"seed": seed})
    config = GeneratorConfig.of(
        spec, folder=folder, base_url=await target.endpoint(), model=await target.model(), beside=loaded.path.parent
    )
    pods = await plans.load_pods(loaded.experiment, target, store.record.run_id)
    if pods is not None:
        await store.arm(UndoEntry(id=LOAD, fault=LOAD, operations=pods.undo))
    try:
        async with engines.generator(spec, config, pods) as generator:
            yield generator
    finally:
        if any(entry.id == LOAD for entry in store.record.remaining):
            await undo_entry(store, LOAD)


async def _attacks(loaded: Loaded, target: Target, folder: Path, *, redact: bool) -> list[AttackerConfig]:
    """One attacker for each entry of ``attacks``, with the same patience as the load's users have."""
    load = loaded.experiment.load
    return [
        AttackerConfig.attack(
            spec,
            folder=folder,
            base_url=await target.endpoint(),
            model=await target.model(),
            writer=ATTACKER if place == 1 else f"{ATTACKER}-{place}",
            beside=loaded.path.parent,
            stall_timeout=load.stall_timeout,
            timeout=load.timeout,
            redact=redact,
        )
        for place, spec in enumerate(loaded.experiment.attacks, start=1)
    ]


async def _stop_when_lost(lease: leases.TargetLease, run: Run) -> None:
    await lease.lost.wait()
    run.stop.set(RunStatus.INTERRUPTED, "another process took the target's Lease")
