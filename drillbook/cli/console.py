"""The live console of a run: on a terminal it redraws a screen, in a log it speaks."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from drillbook import clock
from drillbook.cli import screen
from drillbook.cli.liveview import Happening, LiveView
from drillbook.model.events import Line, LoadTicked
from drillbook.model.experiment import Experiment

SPOKEN_EVERY = 5.0
"""Seconds between two lines of figures where there is no terminal to redraw."""


class RunConsole:
    """A sink that shows a run. As a context manager it owns the terminal's live region."""

    def __init__(self, experiment: Experiment, target: str, console: Console) -> None:
        self.experiment, self.target, self.console = experiment, target, console
        self.view = LiveView(experiment.slo)
        self.happenings: deque[Happening] = deque(maxlen=screen.MOST_HAPPENINGS)
        self._live: Live | None = None
        self._spoke = 0.0
        self._began: float | None = None

    def __enter__(self) -> RunConsole:
        if self.console.is_terminal:
            self._live = Live(get_renderable=self.render, console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def handle(self, line: Line) -> None:
        """Show one line of the run."""
        if self._began is None:
            self._began = line.mono
        for happening in self.view.take(line):
            if self._live is None:
                told = screen.happening_line(self.view, happening, self._began, short=False)
                self.console.print(told, soft_wrap=True)
            elif happening.weight == 2:  # stays above the live region, and on the screen when that is gone
                told = screen.happening_line(self.view, happening, self._began)
                self.console.print(told, no_wrap=True, overflow="ellipsis")
            else:
                self.happenings.append(happening)
        if self._live is None and isinstance(line.event, LoadTicked) and line.mono - self._spoke >= SPOKEN_EVERY:
            self._spoke = line.mono
            told = Text(f"{screen.moment(self.view, line.mono, self._began)}  ").append_text(screen.figures(self.view))
            self.console.print(told, soft_wrap=True)

    def render(self) -> RenderableType:
        """The whole live region."""
        self.view.now = max(self.view.now, clock.monotonic())
        began = self.view.now if self._began is None else self._began
        return screen.render(
            self.view, self.experiment, self.target, self.happenings, began=began, size=self.console.size
        )
