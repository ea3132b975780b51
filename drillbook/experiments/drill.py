"""From an experiment and a target to a finished run folder: all that a run needs, brought up and taken down in order.

Lease, undo record and watchdog are in place before the first request is sent; the load and the instruments before the
baseline. They go in the opposite order, and the watchdog is told goodbye only once nothing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import drillbook
from drillbook import clock
from drillbook.experiments import plan as plans
from drillbook.experiments.injection import Injector
from drillbook.experiments.load import Loaded
from drillbook.experiments.recorder import Recorder, Sink
from drillbook.experiments.run import Run
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import Generator
from drillbook.model.events import Phase, PhaseStarted, Planned, RunStarted
from drillbook.model.plan import Plan
from drillbook.model.verdict import RunStatus
from drillbook.probes.collectors import instruments
from drillbook.targets.target import Target
from drillbook.undo import lease as leases
from drillbook.undo.keeper import Keeper
from drillbook.undo.record import UndoStore

SIGNALS = {
    signal.SIGINT: "interrupted (Ctrl-C)",
    signal.SIGTERM: "told to end (SIGTERM)",
    signal.SIGHUP: "the terminal was closed",
}


async def resolve(loaded: Loaded, target: Target, *, seed: int, run_id: str = "dry-run") -> Plan:
    """What a run would do. Touches nothing.

    Raises:
        PreflightError: it cannot be done there.

    """
    return await plans.make(loaded, target, run_id=run_id, seed=seed)


async def drill(loaded: Loaded, target: Target, runs: Path, *, seed: int, sinks: tuple[Sink, ...] = ()) -> Path:
    """Run the experiment; the run folder holds everything that is to be known of it.

    Raises:
        PreflightError: known before anything was touched; there is no run folder.

    """
    run_id = new_run_id()
    plan = await resolve(loaded, target, seed=seed, run_id=run_id)
    checks = await plans.preflight(plan, loaded, target)
    plans.refuse(checks)
    lease = await leases.acquire(target.kube, target.namespace, run_id)
    try:
        folder = new_folder(runs, loaded.path.stem)
        recorder = Recorder(folder, sinks)
        recorder.emit(await _start_line(loaded, target, run_id), sync=True)
        recorder.emit(PhaseStarted(phase=Phase.PREFLIGHT))
        for check in checks:
            recorder.emit(check)
        recorder.emit(Planned(plan=plan), sync=True)
        store = await UndoStore.create(target.kube, target.namespace, run_id, loaded.experiment.title, folder)
        store.fence = lease.check
        async with _watched(target, store, run_id, folder), _generator(loaded, target, folder, seed) as load:
            run = Run(
                loaded.experiment,
                plan,
                recorder=recorder,
                injector=Injector(plan, target, store, recorder),
                load=load,
                instruments=await instruments(loaded.experiment, target, recorder.emit),
            )
            lost = asyncio.create_task(_stop_when_lost(lease, run))
            with _signals(run):
                await run.execute()
            lost.cancel()
        recorder.close()
    finally:
        await lease.release()
    return folder


def new_run_id() -> str:
    """Sortable by time, unlike any other: ``20261121-210458-3f2a``."""
    return f"{_utc():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def new_folder(runs: Path, experiment: str) -> Path:
    """A new folder ``runs/<experiment>/<time>``, and ``latest`` pointing at it.

    Raises:
        UsageError: it cannot be made.

    """
    from drillbook.errors import UsageError

    name = re.sub(r"[^A-Za-z0-9._-]+", "-", experiment) or "experiment"
    parent = runs / name
    stamp = f"{_utc():%Y-%m-%dT%H-%M-%S}"
    try:
        for suffix in ["", *(f".{number}" for number in range(2, 100))]:
            folder = parent / (stamp + suffix)
            if not folder.exists():
                break
        folder.mkdir(parents=True)
        latest = parent / "latest"
        if latest.is_symlink() or not latest.exists():
            latest.unlink(missing_ok=True)
            latest.symlink_to(folder.name)
    except OSError as error:
        raise UsageError(
            f"cannot make a run folder in {runs}: {error.strerror}", hint="choose another with --runs"
        ) from None
    return folder


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
async def _watched(target: Target, store: UndoStore, run_id: str, folder: Path) -> AsyncIterator[None]:
    """The watchdog looks on, and stays behind if anything remains to be undone."""
    keeper = await Keeper.start(
        run_id=run_id,
        namespace=target.namespace,
        kubeconfig=target.kubeconfig,
        context=target.context,
        folder=folder,
    )
    yield
    if store.record.closed and not store.record.remaining:
        await store.remove()
        await keeper.goodbye()


@contextlib.asynccontextmanager
async def _generator(loaded: Loaded, target: Target, folder: Path, seed: int) -> AsyncIterator[Generator]:
    spec = loaded.experiment.load.model_copy(update={"seed": seed})
    config = GeneratorConfig.of(
        spec, folder=folder, base_url=await target.endpoint(), model=await target.model(), beside=loaded.path.parent
    )
    async with Generator(config) as generator:
        yield generator


async def _stop_when_lost(lease: leases.TargetLease, run: Run) -> None:
    await lease.lost.wait()
    run.stop.set(RunStatus.INTERRUPTED, "another process took the target's Lease")


@contextlib.contextmanager
def _signals(run: Run) -> Iterator[None]:
    """The first signal ends the body; undo then runs to its end whatever comes."""
    loop = asyncio.get_running_loop()
    for number, reason in SIGNALS.items():
        loop.add_signal_handler(number, run.stop.set, RunStatus.INTERRUPTED, reason)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
