"""The live console of a run: phases, goodput, TTFT, pods. On a terminal it redraws; in a log it speaks."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from drillbook import clock
from drillbook.cli.liveview import Happening, LiveView
from drillbook.model import units
from drillbook.model.events import Line, LoadTicked, Phase
from drillbook.model.experiment import Experiment
from drillbook.model.request import Outcome
from drillbook.model.units import Dimension

BLOCKS = "▁▂▃▄▅▆▇█"
WEIGHT_STYLES = ("dim", "", "bold")
STATE_STYLES = {"ready": "green", "terminating": "yellow", "gone": "dim", "pending": "yellow", "starting": "yellow"}
SPOKEN_EVERY = 5.0
"""Seconds between two lines of figures where there is no terminal to redraw."""


class RunConsole:
    """A sink that shows a run. As a context manager it owns the terminal's live region."""

    def __init__(self, experiment: Experiment, target: str, console: Console) -> None:
        self.experiment, self.target, self.console = experiment, target, console
        self.view = LiveView(experiment.slo)
        self.happenings: deque[Happening] = deque(maxlen=9)
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
        self._began = self._began or line.mono
        for happening in self.view.take(line):
            self.happenings.append(happening)
            if self._live is not None:
                if happening.weight == 2:
                    self._live.console.print(self._happening(happening))
            else:
                self.console.print(self._happening(happening), soft_wrap=True)
        if self._live is None and isinstance(line.event, LoadTicked) and line.mono - self._spoke >= SPOKEN_EVERY:
            self._spoke = line.mono
            self.console.print(Text(f"{self._at(line.mono)}  ").append_text(self.figures()), soft_wrap=True)

    def _at(self, mono: float) -> str:
        zero = self.view.zero
        if zero is None:
            return f"{mono - (self._began or mono):7.1f}s"
        return f"T{mono - zero:+7.1f}s"

    def _happening(self, happening: Happening) -> Text:
        return Text(f"{self._at(happening.mono)}  {happening.text}", style=WEIGHT_STYLES[happening.weight])

    def figures(self) -> Text:
        """One line: goodput, TTFT, what is in flight."""
        goodput, ttft = self.view.goodput(), self.view.ttft()
        text = Text("goodput ")
        text.append("none" if goodput is None else units.show(goodput, Dimension.SHARE), style=_goodput_style(goodput))
        if ttft:
            text.append(f"   TTFT p50 {units.show(ttft[len(ttft) // 2], Dimension.DURATION)}")
            text.append(f" p95 {units.show(ttft[min(len(ttft) - 1, int(len(ttft) * 0.95))], Dimension.DURATION)}")
        text.append(f"   {self.view.tokens_per_second} tok/s   in flight {self.view.in_flight}")
        if self.view.oldest > 2:
            text.append(f"   oldest silent for {units.show(self.view.oldest, Dimension.DURATION)}", style="yellow")
        for outcome, count in self.view.outcomes.items():
            if outcome.bad:
                text.append(f"   {outcome.value} {count}", style="red")
        return text

    def render(self) -> RenderableType:
        """The whole live region."""
        self.view.now = max(self.view.now, clock.monotonic())
        rows: list[RenderableType] = [
            self._phases(),
            Text(),
            self._sparkline(),
            self.figures(),
            Text(),
            self._pods(),
            Text(),
        ]
        rows += [self._happening(happening) for happening in self.happenings]
        return Panel(
            Group(*rows),
            title=Text(self.experiment.title, style="bold"),
            subtitle=self.target,
            title_align="left",
            subtitle_align="left",
            padding=(1, 2),
        )

    def _phases(self) -> Text:
        text = Text()
        passed = True
        for phase in Phase:
            current = phase is self.view.phase
            passed = passed and not current
            text.append(f" {phase.value} ", style="reverse bold" if current else "green" if passed else "dim")
            text.append(" ")
        text.append(f"  {self._at(self.view.now)}", style="dim")
        return text

    def _sparkline(self) -> Text:
        text = Text("goodput, 60 s  ", style="dim")
        for share in self.view.sparkline:
            if share is None:
                text.append("·", style="dim")
            else:
                text.append(BLOCKS[round(share * (len(BLOCKS) - 1))], style=_goodput_style(share))
        ok = self.view.outcomes.get(Outcome.OK, 0)
        text.append(f"  {ok} ok of {sum(self.view.outcomes.values())}", style="dim")
        return text

    def _pods(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        order = sorted(self.view.pods.values(), key=lambda pod: (pod.gone, pod.role, pod.name))
        for pod in [pod for pod in order if not pod.gone or self.view.now - pod.changed < 30][:10]:
            style = STATE_STYLES.get(pod.state, "red")
            since = units.show(self.view.now - pod.changed, Dimension.DURATION) if pod.changed else ""
            table.add_row(
                Text(pod.role, style="dim"),
                pod.name,
                Text(f"● {pod.state}", style=style),
                Text(pod.node, style="dim"),
                f"{pod.restarts} restarts" if pod.restarts else "",
                Text(since, style="dim"),
            )
        return table


def _goodput_style(share: float | None) -> str:
    if share is None:
        return "dim"
    return "green" if share >= 0.95 else "yellow" if share >= 0.5 else "red"
