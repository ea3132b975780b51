"""What a run says, for people and for machines: facts first, then one renderer a file.

``facts.facts(history, judgement)`` is pure and says everything once; HTML, Markdown, JSON, JUnit and the filled-in
playbook only lay it out, so they cannot contradict one another. Read in this order: ``facts``, the nouns that it is
made of (``header``, ``deeds``, ``clocks``, ``signals``, ``harm``, ``slis``, ``series``, ``pods``, ``timeline``,
``backlog``, ``caveats``), then ``charts`` and ``renderers``. ``write`` puts the files into a run folder.
"""

from __future__ import annotations

from drillbook.reports.write import write

__all__ = ["write"]
