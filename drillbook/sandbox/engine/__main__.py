"""``python -m drillbook.sandbox.engine MODEL …``: one ``sim`` server in this process."""

from __future__ import annotations

import sys

from drillbook.sandbox.engine.main import main

if __name__ == "__main__":
    sys.exit(main())
