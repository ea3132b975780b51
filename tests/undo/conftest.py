from __future__ import annotations

from control_plane import kube, main_loop, namespace, own_plane, shared_plane
from doomed import runner

__all__ = ["kube", "main_loop", "namespace", "own_plane", "runner", "shared_plane"]
