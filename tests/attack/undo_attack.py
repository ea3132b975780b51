"""Ends real runs in every way that a machine or a person knows, at random moments, and looks whether all is put back.

    python tests/attack/undo_attack.py --rounds 300 --seed 7 --minutes 30

What is counted is seen from outside (``outside.py``: /proc and plain HTTP), never told by drillbook. Exit 1 where
anything was left, harmed, or reported as what it was not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import outside
from assault import Assault, Meddler
from attack_round import (
    ENGINE_REPLICAS,
    FEWER,
    FINISHED,
    METHODS,
    MORE,
    ROUTER_REPLICAS,
    Round,
    was_starting,
    wrong_code,
)
from outside import ENGINES, ROUTER, Api, Decoy, wait

WAYS = {
    "left alone": 1,
    "SIGINT": 3,
    "SIGTERM": 3,
    "kill -9": 6,
    "kill -9 of runner and watchdog, then recover": 2,
    "terminal closed": 3,
    "disk full": 3,
    "control plane away for seconds": 3,
    "SIGINT, then kill -9": 1,
    "asleep for 8 s": 0.3,
    "control plane away until after the run": 0.3,
}
"""How often each way is chosen, relative to one another."""


class Lane:
    """One sandbox, in which round follows round."""

    def __init__(self, name: str, folder: Path) -> None:
        from drillbook.sandbox import lifecycle

        self.name, self.folder = name, folder
        folder.mkdir()
        found = asyncio.run(lifecycle.up(name, replicas=ENGINE_REPLICAS))
        self.api, self.state_dir, self.endpoint = Api(found.api_url), found.state_dir, found.endpoint
        outside.decoy_pod(self.api)
        self.decoy = outside.decoy_pod_process(self.state_dir)
        assert self.decoy is not None, "the decoy pod's process is not found"

    def end(self) -> None:
        from drillbook.sandbox import lifecycle

        asyncio.run(lifecycle.down(self.name))

    def attack(self, round_: Round) -> None:
        wait(self.api.is_settled, 60, "the sandbox to be well before the round")
        wait(lambda: outside.tokens(self.endpoint), 60, "the router to give a token before the round")
        engines = outside.engine_processes(self.state_dir)
        place = self.folder / f"{round_.number:04}"
        runs = place / "runs"
        runs.mkdir(parents=True)
        if round_.size:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={round_.size}k", "none", str(runs)], check=True)
        try:
            with (place / "output").open("wb") as output:
                meddler = Meddler(self.api, round_) if round_.meddle else None
                Assault(self, round_, place, output).carry_out()
                if meddler:
                    meddler.end()
            self._examine(round_, place, engines, meddler)
        finally:
            if round_.size:
                subprocess.run(["umount", "-l", str(runs)], check=True)
        if not round_.problems:
            shutil.rmtree(place)

    def _examine(self, round_: Round, place: Path, before: set[tuple[int, int]], meddler: Meddler | None) -> None:
        say = round_.problems.append
        try:
            wait(lambda: self.broken(round_, meddler) == "", 20, "nothing to be broken")
            wait(lambda: not self.api.open_records(), 20, "the records to be closed")
        except TimeoutError as error:
            say(f"{error}: {self.broken(round_, meddler)} {self.api.open_records()}")
        gone = len(before - outside.engine_processes(self.state_dir))
        harmed = sum(step["fault"] == "pod-kill" for step in round_.method)
        harmed += sum(step in (FEWER, MORE) for step in round_.method)  # whose pods go, its controller says
        if gone > harmed + (meddler is not None and meddler.wrote):
            say(f"{gone} engines are gone, with {harmed} pods to lose")
        decoy = outside.look(self.decoy.pid) if self.decoy else None
        if decoy is None or self.decoy is None or decoy.start != self.decoy.start or decoy.stopped:
            say(f"the decoy pod was touched: {decoy}")
        text = (place / "output").read_text(errors="replace")
        for word in ("Traceback", "never retrieved", "bug:"):
            if word in text and not was_starting(round_):
                say(f"{word!r} in the output: {text[text.find(word) - 200 :][:1500]}")
        folders = [each.parent for each in place.glob("runs/*/*/journal.jsonl") if not each.parent.is_symlink()]
        for folder in folders:
            _examine_journal(round_, folder, meddler)
        problem = wrong_code(round_, text)
        if problem:
            say(problem + ": " + text[-600:])
        if meddler and meddler.wrote:
            path, _, _ = round_.scaled or ("", 0, 0)
            self.api.scale(path, ROUTER_REPLICAS if path == ROUTER else ENGINE_REPLICAS)

    def broken(self, round_: Round, meddler: Meddler | None = None) -> str:
        """What is not as it was, in words."""
        found = [
            f"{each.title} {each.pid} stopped"
            for each in outside.pod_processes(self.state_dir).values()
            if each.stopped
        ]
        for path, wanted in ((ENGINES, ENGINE_REPLICAS), (ROUTER, ROUTER_REPLICAS)):
            if meddler and meddler.wrote and round_.scaled and round_.scaled[0] == path:
                wanted = round_.scaled[2]
            now = self.api.replicas(path)
            if now != wanted:
                found.append(f"{path.rpartition('/')[2]} has {now} replicas instead of {wanted}")
        return "; ".join(found)


def _examine_journal(round_: Round, folder: Path, meddler: Meddler | None) -> None:
    """Read every file of the run folder with json alone, and compare what drillbook makes of it with what was."""
    events: list[dict[str, Any]] = []
    for path in folder.glob("*.jsonl"):
        *lines, last = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                events.append(json.loads(line)["event"])
            except (ValueError, KeyError):
                round_.problems.append(f"{path.name}:{number} is not readable: {line[:80]!r}")
        if last and round_.code not in (-9, 70) and not round_.size:
            round_.problems.append(f"{path.name} ends torn")
    from drillbook.experiments import check, journal

    judgement = check.judge(journal.read(folder))
    round_.status = judgement.status.value
    ended = [event for event in events if event["type"] == "run-ended"]
    if bool(ended) == (round_.status == "crashed") and not (ended and ended[0]["status"] == "crashed"):
        round_.problems.append(f"judged as {round_.status}, with {len(ended)} run-ended")
    if round_.status == "crashed" and judgement.verdict.value == "held":
        round_.problems.append("a crashed run was judged held")
    if judgement.undo.value == "remains" and round_.way != "control plane away until after the run":
        round_.problems.append("nothing is left, but the run folder says that something remains")
    if round_.status == "completed" and round_.code in FINISHED and judgement.exit_code != round_.code:
        round_.problems.append(f"the journal says exit code {judgement.exit_code:d}, the runner {round_.code}")
    if meddler and meddler.wrote:
        round_.meddled = True
        ends = [event for event in events if event["type"] == "fault-changed" and event["id"].endswith("scale")]
        round_.superseded = any(event["state"] == "superseded" for event in ends)


def _rounds(count: int, seed: int) -> list[Round]:
    chance = random.Random(seed)
    rounds = []
    for number in range(count):
        ways = list(WAYS)
        way = ways[number] if number < len(ways) - 2 else chance.choices(ways, list(WAYS.values()))[0]
        method = chance.choice(METHODS)
        scales = any(step["fault"] == "scale" for step in method)
        timed = way not in ("left alone", "disk full")
        first = number < len(ways) - 2  # of its way: the short form strikes while something is broken
        aimed = timed and (first or chance.random() < (0.8 if "kill" in way else 0.5))
        rounds.append(
            Round(
                number=number,
                way=way,
                method=method,
                moment=None if aimed else chance.uniform(0.0, 10.0) if timed else 0.0,
                meddle=scales and chance.random() < 0.3,
                size=chance.choice((40, 72, 80, 88, 96, 120, 200)) if way == "disk full" else 0,
            )
        )
    return rounds


@dataclass
class Result:
    """What an attack showed."""

    rounds: list[Round]
    harm: str
    seconds: float
    leftovers: list[str]

    @property
    def problems(self) -> list[str]:
        told = [f"round {each.number} ({each.way}): {problem}" for each in self.rounds for problem in each.problems]
        expected = ("control plane", "disk full")
        refused = sum(each.code == 4 and not each.way.startswith(expected) for each in self.rounds)
        if refused > max(2, len(self.rounds) / 20):
            told.append(f"{refused} of {len(self.rounds)} runs were refused by the preflight")
        return told + ([f"the decoy: {self.harm}"] if self.harm else []) + self.leftovers

    def summary(self) -> str:
        outcomes: dict[str, Counter[str]] = {}
        for each in self.rounds:
            outcomes.setdefault(each.way, Counter())[f"exit {each.code}, {each.status}"] += 1
        rows = [f"{len(self.rounds)} rounds in {self.seconds / 60:.1f} minutes, {len(self.problems)} problems", ""]
        for way in sorted(outcomes):
            rows.append(f"  {way}: {sum(outcomes[way].values())}")
            rows += [f"    {count:4} x {what}" for what, count in outcomes[way].most_common()]
        times = sorted(each.undone for each in self.rounds if each.undone is not None)
        if times:
            marks = {"least": 0.0, "median": 0.5, "90 %": 0.9, "most": 1.0}
            figures = [f"{name} {times[round(share * (len(times) - 1))]:.2f} s" for name, share in marks.items()]
            rows += ["", f"  kill -9 to undone, {len(times)} kills with a fault in place: {', '.join(figures)}"]
        meddled = [each for each in self.rounds if each.meddled]
        superseded = sum(each.superseded for each in meddled)
        rows.append(
            f"  somebody else wrote the field in {len(meddled)} rounds: superseded in {superseded}, kept in all"
        )
        return "\n".join(rows + [f"  PROBLEM {each}" for each in self.problems])


def attack(rounds: int, seed: int, minutes: float, lanes: int, only: str = "") -> Result:
    """Attack until all rounds are over or the time is."""
    began = time.monotonic()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored would be so for the runners as well
    folder = Path(tempfile.mkdtemp(prefix="drillbook-attack-"))
    os.environ.setdefault("DRILLBOOK_HOME", str(folder / "home"))
    decoy = Decoy(folder)
    waiting = [each for each in _rounds(rounds, seed) if only in each.way][::-1]
    done: list[Round] = []
    places = [Lane(f"attack-{number}", folder / f"lane-{number}") for number in range(lanes)]

    def work(lane: Lane) -> None:
        while waiting and time.monotonic() - began < minutes * 60:
            current = waiting.pop()
            current.lane = lane.name
            try:
                lane.attack(current)
            except Exception as error:  # noqa: BLE001 - a bug of the attack's is a problem of its round, and the others go on
                current.problems.append(f"the attack itself failed: {type(error).__name__}: {error}")
            done.append(current)
            if sys.stderr.isatty() or "DRILLBOOK_ATTACK_ROUNDS" in os.environ or current.problems:
                sys.stderr.write(f"{time.monotonic() - began:6.0f}s {current}\n")

    threads = [threading.Thread(target=work, args=(lane,)) for lane in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    leftovers = []
    for lane in places:
        try:
            wait(lambda lane=lane: not lane.api.items(outside.RECORDS), 25, "the last records to be removed")
        except TimeoutError as error:
            leftovers.append(f"{lane.name}: {error}")
    harm = decoy.harm()
    decoy.end()
    for lane in places:
        lane.end()
    result = Result(sorted(done, key=lambda each: each.number), harm, time.monotonic() - began, leftovers)
    if not result.problems:
        shutil.rmtree(folder)
    else:
        sys.stderr.write(f"kept: {folder}\n")
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lanes", type=int, default=3, help="sandboxes that are attacked at the same time")
    parser.add_argument("--only", default="", help="only ways that contain this")
    options = parser.parse_args()
    result = attack(options.rounds, options.seed, options.minutes, options.lanes, options.only)
    sys.stdout.write(f"{result.summary()}\n")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
