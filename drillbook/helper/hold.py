"""``hold``: keep a pod there for what is exec'd in it, once the target has been reached from it.

Arguments: ``host`` and ``port`` of the target.
"""

from __future__ import annotations

import socket
from typing import Any

from drillbook import clock
from drillbook.errors import RefusedError

CONNECT_SECONDS = 10.0


class HoldProgram:
    """See the module."""

    held = True

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._address = str(arguments["host"]), int(arguments["port"])

    def apply(self) -> dict[str, Any]:
        """Reach the target.

        :raises RefusedError: it cannot be reached from here.
        """
        began = clock.monotonic()
        try:
            with socket.create_connection(self._address, timeout=CONNECT_SECONDS):
                return {"reached": clock.monotonic() - began}
        except OSError as error:
            host, port = self._address
            raise RefusedError(
                f"the target does not answer this pod at {host}:{port}: {error}",
                hint="a NetworkPolicy may be in the way; or give a target.endpoint that pods reach too",
            ) from error

    def clear(self) -> dict[str, Any]:
        """Nothing is left of it."""
        return {}


PROGRAM = HoldProgram
