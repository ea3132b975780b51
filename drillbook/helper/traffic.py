"""The queues and tables of the network namespace that this thread is in, through ``ip``, ``tc`` and ``nft``."""

from __future__ import annotations

import json
import shutil
import subprocess

from drillbook.errors import RefusedError, UnsupportedError
from drillbook.helper import shaping

COMMAND_SECONDS = 10.0


def device_to(peer: str) -> str:
    """The device by which an address is reached.

    :raises RefusedError: there is no way to it.
    """
    (route,) = json.loads(run(("ip", "-json", "route", "get", peer)))
    return str(route["dev"])


def check(device: str) -> None:
    """Nothing may be replaced that somebody put there: it would have to be put back.

    :raises RefusedError: the device has a qdisc that was set up by hand, or another drill's rule.
    """
    if found := ours():
        raise RefusedError(f"another drill holds this link: {', '.join(found)}", hint="drillbook recover")
    for row in json.loads(run(("tc", "-json", "qdisc", "show", "dev", device)) or "[]"):
        if row.get("root") and row.get("handle") != "0:":
            raise RefusedError(
                f"{device} has a qdisc of its own ({row.get('kind')} {row.get('handle')}), which would be lost",
                hint="take it away first, or throttle somewhere else",
            )


def ours() -> list[str]:
    """What of any helper's is here, in words."""
    return [f"qdisc {shaping.HANDLE} on {device}" for device in _shaped()] + (
        [f"table {shaping.TABLE}"] if _has_table() else []
    )


def clear() -> list[str]:
    """Take away what of any helper's is here. Returns what was, in words."""
    found = ours()
    for device in _shaped():
        run(shaping.unshape(device))
    if _has_table():
        nft(shaping.undrop())
    return found


def tc(commands: list[shaping.Argv]) -> None:
    """Run them in turn; each raises as ``run`` does."""
    for command in commands:
        run(command)


def nft(script: str) -> None:
    """Apply an nftables script whole, or nothing of it; raises as ``run`` does."""
    run(("nft", "-f", "-"), script)


def _shaped() -> list[str]:
    rows = json.loads(run(("tc", "-json", "qdisc", "show")) or "[]")
    return sorted({str(row["dev"]) for row in rows if row.get("root") and row.get("handle") == shaping.HANDLE})


def _has_table() -> bool:
    if shutil.which("nft") is None:
        return False
    rows = json.loads(run(("nft", "--json", "list", "tables")) or "{}").get("nftables", [])
    return any(row.get("table", {}).get("name") == shaping.TABLE for row in rows)


def run(argv: tuple[str, ...], given: str = "") -> str:
    """What the command wrote.

    :raises UnsupportedError: the program is not in this image, or the kernel lacks what it asks for.
    :raises RefusedError: it failed.
    """
    try:
        done = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except FileNotFoundError as error:
        package = {"nft": "nftables"}.get(argv[0], "iproute2")
        raise UnsupportedError(f"{argv[0]} is not in this image", hint=f"use one with {package}") from error
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"{' '.join(argv)}: no answer within {COMMAND_SECONDS:g} s") from error
    if done.returncode == 0:
        return done.stdout
    words = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
    if "kind is unknown" in words or ("No such file or directory" in words and argv[0] == "nft"):
        missing = next((kind for kind in ("netem", "htb", "bfifo") if kind in argv), argv[0])
        raise UnsupportedError(
            f"this node's kernel lacks what it takes: {missing} ({words})",
            hint="load the module on the node (sch_netem, sch_htb, nf_tables), or choose a fault that needs another",
        )
    raise RefusedError(f"{' '.join(argv)}: {words}")
