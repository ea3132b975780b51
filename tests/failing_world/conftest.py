from __future__ import annotations

import subprocess

import pytest
from control_plane import kube, main_loop, namespace, own_plane, shared_plane

__all__ = ["kube", "main_loop", "namespace", "own_plane", "shared_plane"]


@pytest.fixture
def small_disk(tmp_path):
    """Makes file systems of so many KiB, in memory."""
    made = []

    def make(size: int):
        folder = tmp_path / f"disk-{len(made)}"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(folder)], check=True)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)
