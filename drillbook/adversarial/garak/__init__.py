"""garak's probes, buffs, hooks, multi-turn logic and detectors, with the sending taken over by drillbook.

garak runs in a process of its own (``bridge``), under whichever interpreter has it: its detectors then hold up no clock
of a request, and its dependencies need not agree with drillbook's. The two speak JSON lines (``session``).
"""

from __future__ import annotations
