"""The attacker's process: ``python -m drillbook.adversarial.worker``, started and steered as a load generator's is.

Standard input brings an ``AttackerConfig`` and then commands; standard output carries the lines of its file. The canary
is drawn here and never written down by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from drillbook import clock
from drillbook.adversarial import packs, plan, signals
from drillbook.adversarial.canary import Canary
from drillbook.adversarial.classifier import Classifier
from drillbook.adversarial.config import AttackerConfig
from drillbook.adversarial.garak.session import Session
from drillbook.adversarial.plan import Part
from drillbook.adversarial.sender import Sender
from drillbook.adversarial.sources import GarakSource, PackSource
from drillbook.load.config import Stop
from drillbook.load.outbox import Outbox
from drillbook.load.worker import client_of, main, ordered, real_time
from drillbook.model.events import Noted


async def work() -> None:
    """Read the config, attack, end when told or when all is sent.

    Raises:
        UsageError: the config or what it names is wrong.
        OSError: a file cannot be made.

    """
    orders, config = await ordered(AttackerConfig)
    canary = Canary()
    classifier = Classifier(signals.load(Path(config.plan or config.pack).parent), canary)
    client = client_of(config)
    async with AsyncExitStack() as stack:
        outbox = await stack.enter_async_context(Outbox(config.writer, config.path))
        await stack.enter_async_context(client)
        note = partial(_note, outbox, config)
        sources = _sources(config, canary, note)
        keep = stack.enter_context(_kept(config.raw))
        sender = Sender(config, client, classifier, sources, outbox.put, keep=keep)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sender.stop, 0.0)
        note(_opening(config, sources, hastened=real_time()))
        obeying = asyncio.create_task(_obey(orders, sender))
        for source in sources:
            if isinstance(source, GarakSource):
                await source.begin()
                stack.push_async_callback(source.end)
        if config.calibrate:
            await _calibrate(sender, classifier, sources, note, redact=config.redact)
        await sender.run(max(config.start or 0.0, clock.monotonic()))
        obeying.cancel()


@contextlib.contextmanager
def _kept(path: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Where garak's own records of its attempts go, one a line."""
    if not path:
        yield lambda _: None
        return
    with Path(path).open("xb") as file:

        def keep(attempt: dict[str, Any]) -> None:
            file.write(msgspec.json.encode(attempt) + b"\n")

        yield keep


def _sources(config: AttackerConfig, canary: Canary, note: Callable[[str], None]) -> list[PackSource | GarakSource]:
    folder = Path(config.plan or config.pack).parent
    parts = plan.read(Path(config.plan)).parts if config.plan else (Part(pack=Path(config.pack).name),)
    return [_source(config, part, folder, canary, note) for part in parts]


def _source(
    config: AttackerConfig, part: Part, folder: Path, canary: Canary, note: Callable[[str], None]
) -> PackSource | GarakSource:
    cap = config.cap if config.cap is not None else part.cap
    if part.pack is None:

        def make(changed: Callable[[], None]) -> Session:
            return Session(
                config.garak_python,
                part.garak,
                buffs=part.buffs,
                config=part.config,
                cap=cap,
                seed=config.seed,
                model=config.model,
                changed=changed,
                note=note,
            )

        return GarakSource(make, part.weight, once=config.once)
    path = packs.find(part.pack, folder)
    return PackSource(
        path.stem,
        packs.read(path),
        canary.text,
        cap=cap,
        seed=config.seed,
        system=part.system,
        weight=part.weight,
        once=config.once,
    )


async def _calibrate(
    sender: Sender,
    classifier: Classifier,
    sources: list[PackSource | GarakSource],
    note: Callable[[str], None],
    *,
    redact: bool,
) -> None:
    """Learn this guardrail's blocks from the tripwires, and say what was learned."""
    for source in sources:
        if isinstance(source, PackSource) and source.pairs:
            heard = await sender.calibrate(source)
            known = classifier.fingerprint.known
            shown = f"{len(known)} traits" if redact else ", ".join(map(repr, known))
            what = f"a block is {shown}" if known else "no answer tells a tripwire from its benign twin"
            note(f"calibrated on {heard} answers to {source.name}: {what}")


async def _obey(orders: asyncio.StreamReader, sender: Sender) -> None:
    async for line in orders:
        sender.stop(msgspec.json.decode(line, type=Stop).drain)
    sender.stop(0.0)


def _note(outbox: Outbox, config: AttackerConfig, text: str) -> None:
    outbox.put(Noted(actor=config.writer, text=text))


def _opening(config: AttackerConfig, sources: list[PackSource | GarakSource], *, hastened: bool) -> str:
    told = [f"{source.name} ({len(source.prompts)} prompts)" for source in sources if isinstance(source, PackSource)]
    told += ["probes of garak"] * any(isinstance(source, GarakSource) for source in sources)
    pace = f"{config.concurrency} at once" if config.concurrency else f"{config.rate:g}/s {config.arrivals}"
    priority = ", at real-time priority" if hastened else ""
    return f"attack: {pace}, {', '.join(told)}, seed {config.seed}{priority}"


if __name__ == "__main__":
    sys.exit(main(work))
