"""The runner's handle on an attacker's process; it is started, read and stopped as a load generator is."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from drillbook.adversarial import packs, plan, signals
from drillbook.adversarial.config import AttackerConfig
from drillbook.errors import UsageError
from drillbook.load.process import Generator, check_headers

GARAK_PYTHON = "DRILLBOOK_GARAK_PYTHON"
"""The variable that names an interpreter with garak, where this one has none."""


class Attacker(Generator):
    """One attacker, begun and ended as ``async with Attacker(config) as attacker``; iterate it for its lines.

    Raises:
        UsageError: what the config names is not there, or the plan asks for garak and there is none.
        InvalidFileError: the plan or a pack is wrong. In both cases nothing was started.
        GeneratorError: it did not start; and from the iteration, that it died.

    """

    what = "the attacker"
    module = "drillbook.adversarial.worker"
    config: AttackerConfig

    def __init__(self, config: AttackerConfig) -> None:
        super().__init__(config)
        self.ends_by_itself = config.once

    def check(self) -> None:
        """Refuse what cannot be sent, before anything is started."""
        signals.load(Path(self.config.plan or self.config.pack).parent)
        if self.config.plan:
            path = Path(self.config.plan)
            wanted = plan.read(path)
            for part in wanted.parts:
                if part.pack is not None:
                    packs.read(packs.find(part.pack, path.parent))
            if any(part.garak for part in wanted.parts):
                check_garak(self.config.garak_python)
        else:
            packs.read(Path(self.config.pack))
        check_headers(self.config)


def check_garak(python: str) -> None:
    """Refuse a plan of garak's probes where there is no garak.

    Raises:
        UsageError: this interpreter has none, and no other was named.

    """
    if not (python or os.environ.get(GARAK_PYTHON)) and importlib.util.find_spec("garak") is None:
        raise UsageError(
            "the plan asks for probes of garak, which is not installed here",
            f"pip install 'drillbook[garak]', or name an interpreter that has it: {GARAK_PYTHON}=…/bin/python",
        )
