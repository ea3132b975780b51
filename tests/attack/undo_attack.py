"""Ends real runs in every way that a machine or a person knows, at random moments, and looks whether all is put back.

    python tests/attack/undo_attack.py --rounds 300 --seed 7 --minutes 30

What is counted is seen from outside (``outside.py``: /proc and plain HTTP), never told by drillbook. Exit 1 where
anything was left, harmed, or reported as what it was not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import outside
from outside import ENGINES, ROUTER, Api, Decoy, wait

ENGINE_REPLICAS, ROUTER_REPLICAS = 2, 1
FINISHED = frozenset({0, 1, 3})
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
HANG = {"fault": "process-hang", "role": "engine", "count": 1, "for": "2500ms"}
ROUTERS = {"fault": "scale", "role": "router", "replicas": ROUTER_REPLICAS + 1, "for": "2500ms"}
MORE = {"fault": "scale", "role": "engine", "replicas": ENGINE_REPLICAS + 1, "for": "2500ms"}
FEWER = {"fault": "scale", "role": "engine", "replicas": ENGINE_REPLICAS - 1, "for": "2500ms"}
KILL = {"fault": "pod-kill", "role": "engine", "count": 1, "grace": "0s"}
METHODS: tuple[tuple[dict[str, Any], ...], ...] = (
    (HANG,), (HANG | {"count": "all"},), (ROUTERS, HANG), (MORE,), (HANG, MORE, KILL), (KILL, HANG), (FEWER,),
)  # fmt: skip


@dataclass
class Round:
    """One run and its end."""

    number: int
    way: str
    method: tuple[dict[str, Any], ...]
    moment: float | None
    """Seconds after the start; None: a moment after the fault was seen."""
    meddle: bool
    size: int
    """Of the file system that holds the run folder, in KiB; 0: the machine's own."""
    lane: str = ""
    code: int | None = None
    status: str = "no run folder"
    undone: float | None = None
    """Seconds from ``kill -9`` until nothing was broken any more, where something was."""
    meddled: bool = False
    superseded: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def scaled(self) -> tuple[str, int, int] | None:
        """Which workload this scales, to how many, and to how many somebody else then does."""
        for step in self.method:
            if step["fault"] == "scale":
                return (ROUTER if step["role"] == "router" else ENGINES), step["replicas"], step["replicas"] + 2
        return None


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
            if word in text:
                say(f"{word!r} in the output: {text[text.find(word) - 200 :][:1500]}")
        folders = [each.parent for each in place.glob("runs/*/*/journal.jsonl") if not each.parent.is_symlink()]
        for folder in folders:
            _examine_journal(round_, folder, meddler)
        problem = _wrong_code(round_, text)
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


class Meddler:
    """Somebody else, who changes the field that the fault wrote, as soon as it is written."""

    def __init__(self, api: Api, round_: Round) -> None:
        self.wrote = False
        self._api, self._round, self._ended = api, round_, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        path, ours, theirs = self._round.scaled or ("", 0, 0)
        while not self._ended.wait(0.03):
            with contextlib.suppress(OSError):
                now = self._api.get(path)
                if now and now["spec"]["replicas"] == ours:
                    now["spec"]["replicas"] = theirs
                    self._api.call("PUT", path, now)  # with its resourceVersion: only while it still is what we saw
                    self.wrote = True
                    return

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


class Assault:
    """Starts one runner and ends it in the round's way."""

    def __init__(self, lane: Lane, round_: Round, place: Path, output: Any) -> None:
        self.lane, self.round, self.place, self.output = lane, round_, place, output

    def carry_out(self) -> None:
        experiment = self.place / "attack.yaml"
        experiment.write_text(json.dumps(_experiment(self.round)))
        command = [sys.executable, "-m", "drillbook", "run", str(experiment)]
        command += ["--sandbox", self.lane.name, "--runs", str(self.place / "runs")]
        if self.round.way == "terminal closed":
            terminal = Terminal(["setsid", "--ctty", *command], self.output)
            self.runner = terminal.process
            self._await_moment()
            terminal.close()
            self._leave()
            return
        self.runner = subprocess.Popen(command, stdout=self.output, stderr=self.output, stdin=subprocess.DEVNULL)
        self._await_moment()
        getattr(self, "_" + "".join(c if c.isalnum() else "_" for c in self.round.way.partition(",")[0].lower()))()

    def _await_moment(self) -> None:
        until = time.monotonic() + (20 if self.round.moment is None else self.round.moment)
        while time.monotonic() < until and self.runner.poll() is None:
            if self.round.moment is None and self._fault_is_seen():
                time.sleep(random.uniform(0, 0.5))
                return
            time.sleep(0.03)

    def _fault_is_seen(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.lane.broken(self.round))
        return False

    def _leave(self, seconds: float = 120) -> None:
        try:
            self.round.code = self.runner.wait(seconds)
        except subprocess.TimeoutExpired:
            self.round.problems.append(f"the runner had not ended after {seconds:g} s")
            self.runner.kill()
            self.round.code = self.runner.wait()

    def _left_alone(self) -> None:
        self._leave()

    def _disk_full(self) -> None:
        self._leave()

    def _sigint(self) -> None:
        self.runner.send_signal(signal.SIGINT)
        if "then" in self.round.way:
            time.sleep(random.uniform(0, 0.5))
            self.runner.kill()
        self._leave()

    def _sigterm(self) -> None:
        self.runner.send_signal(signal.SIGTERM)
        self._leave()

    def _kill__9(self) -> None:
        was = "" if self.runner.poll() is not None else self.lane.broken(self.round)
        self.runner.kill()
        began = time.monotonic()
        self._leave()
        if was:
            with contextlib.suppress(TimeoutError):
                wait(lambda: not self.lane.broken(self.round), 15, "the undo", every=0.01)
            if not self.round.meddle:
                self.round.undone = time.monotonic() - began

    def _kill__9_of_runner_and_watchdog(self) -> None:
        for pid in _children(self.runner.pid, b"drillbook.undo.watchdog"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.runner.kill()
        self._leave()
        command = [sys.executable, "-m", "drillbook", "recover", "--sandbox", self.lane.name]
        code = subprocess.run(
            [*command, "--runs", str(self.place / "runs")], stdout=self.output, stderr=self.output
        ).returncode
        if code:
            self.round.problems.append(f"recover ended with {code}")

    def _control_plane_away_for_seconds(self) -> None:
        from drillbook.sandbox import lifecycle

        asyncio.run(lifecycle.control_down(self.lane.name))
        time.sleep(random.uniform(0.2, 5.0))
        asyncio.run(lifecycle.control_up(self.lane.name))
        self._leave()

    def _control_plane_away_until_after_the_run(self) -> None:
        from drillbook.sandbox import lifecycle

        asyncio.run(lifecycle.control_down(self.lane.name))
        self._leave(200)
        asyncio.run(lifecycle.control_up(self.lane.name))

    def _asleep_for_8_s(self) -> None:
        self.runner.send_signal(signal.SIGSTOP)
        time.sleep(8)
        self.runner.send_signal(signal.SIGCONT)
        self._leave()


class Terminal:
    """A program on a terminal of its own, which may be closed."""

    def __init__(self, command: list[str], output: Any) -> None:
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self._output, self._closing = output, threading.Event()
        self._thread = threading.Thread(target=self._show)
        self._thread.start()

    def _show(self) -> None:
        os.set_blocking(self._master, False)
        while not self._closing.wait(0.01):
            with contextlib.suppress(BlockingIOError, OSError):
                self._output.write(os.read(self._master, 1 << 16))

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        os.close(self._master)


def _children(parent: int, word: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit() and word in (entry / "cmdline").read_bytes().split(b"\0"):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


def _experiment(round_: Round) -> dict[str, Any]:
    steps = [step | {"at": f"{200 * number}ms"} for number, step in enumerate(round_.method)]
    return {
        "title": "An attacked run",
        "target": {"stack": "production-stack", "namespace": "llm"},
        "load": {"rate": "15/s", "arrivals": "constant", "output-tokens": 2, "stall-timeout": "2s", "timeout": "5s"},
        "warm-up": "0s", "baseline": "1s", "observe": "3s", "settle": "0s",
        "steady-state": ["goodput >= 10%"],
        "method": steps,
        "limits": {"capacity-left": "0%"},
        "expect": ["goodput >= 1%"],
    }  # fmt: skip


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


def _wrong_code(round_: Round, text: str) -> str:
    """Whether the exit code is not one that the documentation gives for what happened."""
    finished = round_.code in FINISHED and round_.status == "completed"
    nothing = round_.status == "no run folder"
    unwritten = round_.code == 70 and "No space left" in text
    match round_.way:
        case "left alone":
            fine = finished
        case "SIGINT" | "SIGTERM" | "terminal closed":
            early = (
                round_.code in (-1, -2, -15, 1) and nothing and (round_.moment or 9) < 1.0
            )  # Python itself was starting
            fine = finished or round_.code == 130 or early
        case "disk full":
            fine = finished or (unwritten and not nothing) or (round_.code == 4 and nothing)
        case "control plane away for seconds":
            fine = finished or (round_.code == 4 and nothing) or (round_.code == 130 and round_.status == "interrupted")
        case "control plane away until after the run":
            fine = finished or (round_.code == 4 and nothing) or round_.code == 5
        case "asleep for 8 s":
            fine = finished or (round_.code == 130 and round_.status == "interrupted") or (round_.code == 4 and nothing)
        case _:
            fine = finished or (
                round_.code == -9 and (nothing or round_.status in ("crashed", "completed", "interrupted"))
            )
    if round_.code == 4 and nothing and "preflight failed" in text:
        return ""  # the target was not well enough to begin; how often is counted in the end
    return "" if fine else f"exit code {round_.code} of a run that was {round_.status}"


def _rounds(count: int, seed: int) -> list[Round]:
    chance = random.Random(seed)
    rounds = []
    for number in range(count):
        ways = list(WAYS)
        way = ways[number] if number < len(ways) - 2 else chance.choices(ways, list(WAYS.values()))[0]
        method = chance.choice(METHODS)
        scales = any(step["fault"] == "scale" for step in method)
        aimed = way not in ("left alone", "disk full") and chance.random() < (0.8 if "kill" in way else 0.5)
        rounds.append(
            Round(
                number=number,
                way=way,
                method=method,
                moment=None if aimed else chance.uniform(0.0, 10.0) if way not in ("left alone", "disk full") else 0.0,
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
        refused = sum(each.code == 4 and not each.way.startswith("control plane") for each in self.rounds)
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
