"""What vLLM's server counts of HTTP itself: ``http_requests_total`` and its companions. ``/health`` is left out."""

from __future__ import annotations

import resource
from pathlib import Path

from aiohttp import web

from drillbook import clock
from drillbook.sandbox.engine.metrics import Histogram, Registry, Value

FINE = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60,
)  # fmt: skip
COARSE = (0.1, 0.5, 1)
UNCOUNTED = {"/metrics", "/health", "/load", "/ping", "/version", "/server_info"}


class HTTPSeries:
    """Requests by handler, method and status class."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._requests: dict[tuple[str, str, str], Value] = {}
        self._durations: dict[tuple[str, str], Histogram] = {}
        self._fine = registry.histogram(
            "http_request_duration_highr_seconds", "Seconds of a request, in many buckets.", {}, FINE
        )

    def record(self, request: web.Request, status: int, seconds: float) -> None:
        """Count one answered request."""
        path = request.path if request.match_info.http_exception is None else "none"
        if path in UNCOUNTED:
            return
        method, group = request.method, f"{status // 100}xx"
        if (path, method, group) not in self._requests:
            labels = {"handler": path, "method": method, "status": group}
            self._requests[path, method, group] = self._registry.value(
                "counter", "http_requests_total", "Requests by method, status and handler.", labels
            )
        if (path, method) not in self._durations:
            self._durations[path, method] = self._registry.histogram(
                "http_request_duration_seconds",
                "Seconds of a request, by handler.",
                {"handler": path, "method": method},
                COARSE,
            )
        self._requests[path, method, group].add()
        self._durations[path, method].observe(seconds)
        self._fine.observe(seconds)


class ProcessSeries:
    """The API server's own process, read when the metrics are asked for."""

    def __init__(self, registry: Registry) -> None:
        registry.value("gauge", "process_start_time_seconds", "When the process began, Unix time.", {}).set(
            clock.wall()
        )
        self._cpu = registry.value("counter", "process_cpu_seconds_total", "CPU time used, in seconds.", {})
        self._memory = registry.value("gauge", "process_resident_memory_bytes", "Resident memory, in bytes.", {})
        self._files = registry.value("gauge", "process_open_fds", "Open file descriptors.", {})

    def refresh(self) -> None:
        """Read the process's figures."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._cpu.set(used.ru_utime + used.ru_stime)
        self._memory.set(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
        self._files.set(sum(1 for _ in Path("/proc/self/fd").iterdir()))
