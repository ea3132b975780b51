"""Runs named checks one after the other, each on its own, and prints what came of them as JSON.

Executed by the interpreters of the ecosystem's environments, which have neither drillbook nor pytest.
"""

import json
import sys
import time
import traceback

CHECKS = {}


def check(function):
    """A check returns what it saw; whatever it raises is its failure. They run in the order of the file."""
    CHECKS[function.__name__] = function
    return function


def until(test, seconds=30.0):
    """The first truthy answer."""
    deadline = time.monotonic() + seconds
    while not (found := test()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: the last answer was {found!r}")
        time.sleep(0.1)
    return found


def run_all():
    results = {}
    for name, function in CHECKS.items():
        begun = time.monotonic()
        try:
            results[name] = {"ok": True, "saw": repr(function())}
        except Exception:  # noqa: BLE001 -- reported in full; one failure must not hide the other checks
            results[name] = {"ok": False, "saw": traceback.format_exc()}
        results[name]["seconds"] = round(time.monotonic() - begun, 2)
    json.dump(results, sys.stdout)
