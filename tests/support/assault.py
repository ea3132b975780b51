"""Starts a runner and ends it in the way of its round; and somebody else who meddles with what the run changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from attack_round import Round, experiment
from outside import Api, wait


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


class Lane(Protocol):
    """The sandbox that is attacked."""

    name: str

    def broken(self, round_: Round) -> str: ...


class Assault:
    """Starts one runner and ends it in the round's way."""

    def __init__(self, lane: Lane, round_: Round, place: Path, output: Any) -> None:
        self.lane, self.round, self.place, self.output = lane, round_, place, output

    def carry_out(self) -> None:
        path = self.place / "attack.yaml"
        path.write_text(json.dumps(experiment(self.round)))
        command = [sys.executable, "-m", "drillbook", "run", str(path)]
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
        until = time.monotonic() + (60 if self.round.moment is None else self.round.moment)
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
