"""A safeguard as chaosaddons makes them: a thread that asks for the end of the run, in the activity after the fault."""

from __future__ import annotations

import os
import signal
import threading
import time

import drill_faults


def before_experiment_control(context: dict) -> None:
    def watch() -> None:
        while not drill_faults.SLEEPS.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)  # chaoslib.exit.exit_gracefully: "while keeping the rollbacks"

    threading.Thread(target=watch, daemon=True).start()
