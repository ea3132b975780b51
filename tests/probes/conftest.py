from __future__ import annotations

import asyncio

# pytest-asyncio asks for the current loop before each test; Python 3.11 would make one then, which nobody closes.
asyncio.set_event_loop(None)
