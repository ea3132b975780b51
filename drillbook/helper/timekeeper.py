"""``python -m drillbook.helper.timekeeper``: answers each line of its stdin with this machine's boot and clock."""

from __future__ import annotations

import sys

from drillbook import clock


def main() -> None:
    """Until stdin ends."""
    for _ in sys.stdin:
        sys.stdout.write(f"{clock.boot_id()} {clock.monotonic()!r}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
