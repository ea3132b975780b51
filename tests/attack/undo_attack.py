"""Ends real runs in every way that a machine or a person knows, at random moments, and looks whether all is put back.

    python tests/attack/undo_attack.py --rounds 300 --seed 7 --minutes 40 --keep attack.jsonl

What is counted is seen from outside (``outside.py``: /proc and plain HTTP), never told by drillbook. The last line is
the totals as JSON. Exit 1 where anything was left, harmed, or reported as what it was not, or where the time was too
short for all rounds. With ``--keep`` each round is written down once it is over, and the same command goes on where
the last one stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
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
UNDONE_WITHIN = 2.0
"""Seconds from ``kill -9`` to undone that are promised; how many kills took longer is told."""


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
        self.deaf = False
        """Whether the control plane was away in the round before, and the router follows no pods since."""

    def end(self) -> None:
        from drillbook.sandbox import lifecycle

        asyncio.run(lifecycle.down(self.name))

    def attack(self, round_: Round) -> None:
        if self.deaf:
            self.api.renew_router()
        self.deaf = round_.way.startswith("control plane")
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
        if not round_.problems:  # a watchdog may be writing its last notes there, after all was found undone
            wait(lambda: _removed(place), 20, "the watchdog to be done with the run folder")

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
            if word in text and not (word == "Traceback" and was_starting(round_, text)):
                say(f"{word!r} in the output: {text[text.find(word) - 200 :][:1500]}")
        folders = [each.parent for each in place.glob("runs/*/*/journal.jsonl") if not each.parent.is_symlink()]
        for folder in folders:
            _examine_journal(round_, folder, meddler)
        if round_.code == 4:
            errors = [line.strip() for line in text.splitlines() if line.startswith(("error:", "  "))]
            round_.refusal = " ".join(errors)[:400]
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
    round_.undo = ended[0]["undo"] if ended else ""
    if ended and (round_.undo == "remains") != (round_.code == 5) and round_.code != -9:
        round_.problems.append(f"its own end says undo {round_.undo}, and its exit code is {round_.code}")
    try:  # whoever undid it may be writing that down
        wait(lambda: check.judge(journal.read(folder)).undo.value != "remains", 20, "the run folder to say so")
    except TimeoutError as error:
        round_.problems.append(f"nothing is left, but {error}")
    if round_.status == "completed" and round_.code in FINISHED and judgement.exit_code != round_.code:
        round_.problems.append(f"the journal says exit code {judgement.exit_code:d}, the runner {round_.code}")
    if meddler and meddler.wrote:
        round_.meddled = True
        now = [json.loads(line)["event"] for path in folder.glob("*.jsonl") for line in _whole_lines(path)]
        ends = [event for event in now if event["type"] == "fault-changed" and event["id"].endswith("scale")]
        round_.superseded = any(event["state"] == "superseded" for event in ends)
        if not round_.superseded and not round_.size:
            round_.problems.append("somebody else changed the field, and nobody says that the undo was superseded")


def _whole_lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


def _removed(place: Path) -> bool:
    shutil.rmtree(place, ignore_errors=True)
    return not place.exists()


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
    wanted: int
    harm: str
    seconds: float
    """Since this process began; the rounds of an earlier one are counted and their time is not."""
    leftovers: list[str]

    @property
    def problems(self) -> list[str]:
        told = [f"round {each.number} ({each.way}): {problem}" for each in self.rounds for problem in each.problems]
        expected = ("control plane", "disk full")
        refused = sum(each.code == 4 and not each.way.startswith(expected) for each in self.rounds)
        if refused > max(2, len(self.rounds) / 20):
            why = Counter(each.refusal for each in self.rounds if each.refusal).most_common(1)
            told.append(f"{refused} of {len(self.rounds)} runs were refused by the preflight, most often: {why}")
        short = self.wanted - len(self.rounds)
        told += [f"{short} of {self.wanted} rounds were not begun: the time was over"] if short > 0 else []
        return told + ([f"the decoy: {self.harm}"] if self.harm else []) + self.leftovers

    @property
    def undone(self) -> list[float]:
        """Seconds from ``kill -9`` to undone of each kill that met a fault in place, sorted."""
        return sorted(each.undone for each in self.rounds if each.undone is not None)

    def totals(self) -> dict[str, Any]:
        """All that this attack came to, for a machine."""
        times, meddled = self.undone, [each for each in self.rounds if each.meddled]
        return {
            "rounds": len(self.rounds),
            "wanted": self.wanted,
            "ways": dict(Counter(each.way for each in self.rounds)),
            "exits": dict(Counter(f"{each.way}: {each.code} {each.status}" for each in self.rounds)),
            "problems": len(self.problems),
            "leftovers": sum(bool(each.problems) for each in self.rounds) + len(self.leftovers) + bool(self.harm),
            "kills": len(times),
            "undone_median_s": round(statistics.median_low(times), 3) if times else None,
            "undone_most_s": round(times[-1], 3) if times else None,
            "undone_over_2s": sum(each > UNDONE_WITHIN for each in times),
            "meddled": len(meddled),
            "superseded": sum(each.superseded for each in meddled),
            "seconds": round(self.seconds),
            "seconds_a_round": round(statistics.mean(each.seconds for each in self.rounds), 1) if self.rounds else None,
        }

    def summary(self) -> str:
        outcomes: dict[str, Counter[str]] = {}
        for each in self.rounds:
            outcomes.setdefault(each.way, Counter())[f"exit {each.code}, {each.status}"] += 1
        rows = [f"{len(self.rounds)} rounds in {self.seconds / 60:.1f} minutes, {len(self.problems)} problems", ""]
        for way in sorted(outcomes):
            rows.append(f"  {way}: {sum(outcomes[way].values())}")
            rows += [f"    {count:4} x {what}" for what, count in outcomes[way].most_common()]
        times = self.undone
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


def attack(rounds: int, seed: int, minutes: float, lanes: int, only: str = "", keep: Path | None = None) -> Result:
    """Attack until all rounds are over or the time is. What ``keep`` holds already is not done again."""
    began = time.monotonic()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored would be so for the runners as well
    folder = Path(tempfile.mkdtemp(prefix="drillbook-attack-"))
    os.environ.setdefault("DRILLBOOK_HOME", str(folder / "home"))
    decoy = Decoy(folder)
    planned = [each for each in _rounds(rounds, seed) if only in each.way]
    done = _kept(keep, planned)
    known = {each.number for each in done}
    waiting = [each for each in planned if each.number not in known][::-1]
    places = [Lane(f"attack-{number}", folder / f"lane-{number}") for number in range(lanes)]

    def work(lane: Lane) -> None:
        while waiting and time.monotonic() - began < minutes * 60:
            try:
                current = waiting.pop()
            except IndexError:  # another lane took the last one
                return
            current.lane, started = lane.name, time.monotonic()
            try:
                lane.attack(current)
            except Exception as error:  # noqa: BLE001 - a bug of the attack's is a problem of its round, and the others go on
                current.problems.append(f"the attack itself failed: {type(error).__name__}: {error}")
            current.seconds = time.monotonic() - started
            done.append(current)
            if keep:
                with keep.open("a") as file:
                    file.write(json.dumps(asdict(current)) + "\n")
            if sys.stderr.isatty() or "DRILLBOOK_ATTACK_ROUNDS" in os.environ or current.problems:
                sys.stderr.write(f"{time.monotonic() - began:6.0f}s {current}\n")

    threads = [threading.Thread(target=work, args=(lane,)) for lane in places]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        waiting.clear()  # the rounds under way are ended well
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
    done.sort(key=lambda each: each.number)
    result = Result(done, len(planned), harm, time.monotonic() - began, leftovers)
    if not result.problems:
        shutil.rmtree(folder)
    else:
        sys.stderr.write(f"kept: {folder}\n")
    return result


def _kept(keep: Path | None, planned: list[Round]) -> list[Round]:
    """Rounds that an earlier process carried out, where they are the same ones."""
    if keep is None or not keep.exists():
        return []
    same = {(each.number, each.way, each.moment, each.size) for each in planned}
    rows = [json.loads(line) for line in keep.read_text().splitlines()]
    kept = [Round(**row | {"method": tuple(row["method"])}) for row in rows]
    if strange := [each.number for each in kept if (each.number, each.way, each.moment, each.size) not in same]:
        raise SystemExit(
            f"{keep} holds round {strange[0]} of another attack: give its --rounds and --seed, or another file"
        )
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=40, help="no round is begun after these")
    parser.add_argument("--lanes", type=int, default=3, help="sandboxes that are attacked at the same time")
    parser.add_argument("--only", default="", help="only ways that contain this")
    parser.add_argument("--keep", type=Path, help="write each round there, and go on from what it holds")
    options = parser.parse_args()
    result = attack(options.rounds, options.seed, options.minutes, options.lanes, options.only, options.keep)
    sys.stdout.write(f"{result.summary()}\n{json.dumps(result.totals())}\n")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
