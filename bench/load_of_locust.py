"""What ``load.py`` asks of Locust: users who read streams of tokens, and when each saw its first. Run by Locust."""

import json
import os
import time
from pathlib import Path

from locust import FastHttpUser, constant_throughput, events, task

FOUND = {"ttft": [], "failed": 0}
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "words"}], "max_tokens": 48, "stream": True}


class Reader(FastHttpUser):
    wait_time = constant_throughput(0.5)

    @task
    def read(self):
        began, first, last = time.perf_counter(), None, b""
        with self.client.post("/v1/chat/completions", json=ASKED, stream=True, catch_response=True) as response:
            # its own iter_content waits for a kilobyte, which is many tokens
            lines = response._response  # noqa: SLF001 - Locust shows no other way to a line
            while line := lines.readline(b"\n"):
                if first is None and b'"content"' in line:
                    first = time.perf_counter() - began
                last = last if line == b"\n" else bytes(line)
            if first is None or b"[DONE]" not in last:
                FOUND["failed"] += 1
                response.failure("not whole")
            else:
                FOUND["ttft"].append(first)


@events.quitting.add_listener
def tell(**_):
    Path(os.environ["FOUND"]).write_text(json.dumps(FOUND))
