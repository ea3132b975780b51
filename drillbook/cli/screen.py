"""The live screen of a run, drawn from a ``LiveView``: nothing on it wraps, and only pods change its height."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from drillbook.cli.liveview import FAULT_WORDS, Happening, LiveView, PodLine, short_name
from drillbook.load import slis
from drillbook.model import units
from drillbook.model.events import FaultState, Phase
from drillbook.model.experiment import Experiment
from drillbook.model.request import Outcome
from drillbook.model.units import Dimension

BLOCKS = "▁▂▃▄▅▆▇█"
WEIGHT_STYLES = ("dim", "", "bold")
POD_STYLES = {"ready": "green", "terminating": "yellow", "gone": "dim", "pending": "yellow", "starting": "yellow"}
FAULT_STYLES = {
    FaultState.BIT: "red",
    FaultState.INJECTED: "red",
    FaultState.UNDONE: "green",
    FaultState.UNDO_FAILED: "bold red",
    FaultState.NO_BITE: "bold yellow",
    FaultState.REFUSED: "bold yellow",
}
GONE_FOR = 30.0
"""Seconds that a pod which went stays on the screen."""
MOST_HAPPENINGS, FEWEST_HAPPENINGS = 9, 3
CHROME = 11
"""Rows of a screen that are neither pods nor faults nor happenings: frame, phases, figures, blank rows."""


def render(
    view: LiveView,
    experiment: Experiment,
    target: str,
    happenings: Sequence[Happening],
    *,
    began: float,
    size: tuple[int, int],
) -> RenderableType:
    """The whole live region, for a terminal of ``size`` columns and rows."""
    width, height = size
    room = height - CHROME - len(view.faults)
    pods = _pods(view, most=max(2, room - FEWEST_HAPPENINGS))
    rows = max(FEWEST_HAPPENINGS, min(MOST_HAPPENINGS, room - len(pods)))
    told = [_cut(happening_line(view, each, began)) for each in list(happenings)[-rows:]]
    told += [Text()] * (rows - len(told))
    parts: list[RenderableType] = [_phases(view), _progress(view, experiment, began), _sparkline(view, width)]
    parts += [figures(view), Text(), _grid(_faults(view)), Text(), _grid(pods), Text(), *told]
    return Panel(
        Group(*parts),
        title=Text(experiment.title, style="bold"),
        subtitle=Text(target),
        title_align="left",
        subtitle_align="left",
        padding=(0, 2),
    )


def moment(view: LiveView, mono: float, began: float) -> str:
    """Seconds after the injection (``T+3.1s``), or of the run while there was none; always nine columns wide."""
    text = f"{mono - began:.1f}s" if view.zero is None else f"T{mono - view.zero:+.1f}s"
    return f"{text:>9}"


def happening_line(view: LiveView, happening: Happening, began: float, *, short: bool = True) -> Text:
    text = view.short(happening.text) if short else happening.text
    return Text(f"{moment(view, happening.mono, began)}  {text}", style=WEIGHT_STYLES[happening.weight])


def figures(view: LiveView) -> Text:
    """One line: goodput, TTFT, what is in flight, what went wrong."""
    goodput, ttft = view.goodput(), view.ttft()
    text = Text("goodput ")
    text.append("none" if goodput is None else units.show(goodput, Dimension.SHARE), style=_goodput_style(goodput))
    if ttft:
        p50, p95 = (_duration(slis.quantile(ttft, q) or 0.0) for q in (0.5, 0.95))
        text.append(f"   TTFT p50 {p50} p95 {p95}")
    text.append(f"   {view.tokens_per_second} tok/s   in flight {view.in_flight}")
    if view.oldest > 2:
        text.append(f"   oldest silent for {view.oldest:.1f}s", style="yellow")
    for outcome, count in view.outcomes.items():
        if outcome.bad:
            text.append(f"   {outcome.value} {count}", style="red")
    return _cut(text)


def _phases(view: LiveView) -> Text:
    text = Text()
    passed = view.phase is not None
    for phase in Phase:
        current = phase is view.phase
        passed = passed and not current
        text.append(f" {phase.value} ", style="reverse bold" if current else "green" if passed else "dim")
    return _cut(text)


def _progress(view: LiveView, experiment: Experiment, began: float) -> Text:
    """How long the run has been going, and its phase."""
    text = Text(f" {moment(view, view.now, began).strip()}", style="bold")
    last = max(step.at for step in experiment.method)
    lengths = {Phase.BASELINE: experiment.baseline, Phase.INJECT: last, Phase.OBSERVE: experiment.observe}
    length = lengths.get(view.phase) if view.phase else None
    if length and view.phase:
        most = "at most " if view.phase is Phase.OBSERVE else ""
        passed = view.now - view.phase_since
        text.append(f"   {view.phase.value}: {passed:.0f}s of {most}{_duration(length)}", style="dim")
    return _cut(text)


def _sparkline(view: LiveView, width: int) -> Text:
    cells = view.sparkline[-max(10, width - 42) :]
    text = Text(f"goodput, {len(cells)} s  ", style="dim")
    for share in cells:
        if share is None:
            text.append("·", style="dim")
        else:
            text.append(BLOCKS[round(share * (len(BLOCKS) - 1))], style=_goodput_style(share))
    ok = view.outcomes.get(Outcome.OK, 0)
    text.append(f"  {ok} ok of {sum(view.outcomes.values())}", style="dim")
    return _cut(text)


def _faults(view: LiveView) -> list[list[Text]]:
    rows = []
    for fault in view.faults.values():
        state, since = view.states.get(fault.id, (None, 0.0))
        word = FAULT_WORDS[state] if state else f"at T+{fault.at:g}s"
        held = fault.hold is not None and state in (FaultState.INJECTED, FaultState.BIT)
        left = f"{max(0.0, (fault.hold or 0.0) - (view.now - since)):.0f}s to go" if held else ""
        style = FAULT_STYLES.get(state, "yellow") if state else "dim"
        rows.append([Text(fault.fault, style="bold"), Text(fault.summary), Text(word, style=style), Text(left, "dim")])
    return rows


def _pods(view: LiveView, most: int) -> list[list[Text]]:
    order = sorted(view.pods.values(), key=lambda pod: (pod.gone, pod.role, pod.name))
    shown = [pod for pod in order if not pod.gone or view.now - pod.changed < GONE_FOR]
    rest: list[PodLine] = []
    if len(shown) > most:  # of a fleet, what is not well comes first
        shown.sort(key=lambda pod: pod.state == "ready")
        shown, rest = shown[: most - 1], shown[most - 1 :]
    rows = [_pod(pod, view.now) for pod in shown]
    if rest:
        ready = sum(pod.state == "ready" for pod in rest)
        rows.append([Text(), Text(f"and {len(rest)} more, {ready} of them ready", style="dim")])
    return rows


def _pod(pod: PodLine, now: float) -> list[Text]:
    restarts = f"{pod.restarts} restart{'' if pod.restarts == 1 else 's'}" if pod.restarts else ""
    return [
        Text(pod.role, style="dim"),
        Text(short_name(pod.name)),
        Text(f"● {pod.state}", style=POD_STYLES.get(pod.state, "red")),
        Text(f"for {now - pod.changed:.0f}s" if pod.changed else "", style="dim"),
        Text(pod.node, style="dim"),
        Text(restarts, style="yellow"),
    ]


def _grid(rows: list[list[Text]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for _ in max(rows, key=len, default=[]):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    return table


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _duration(seconds: float) -> str:
    return units.show(seconds, Dimension.DURATION)


def _goodput_style(share: float | None) -> str:
    if share is None:
        return "dim"
    return "green" if share >= 0.95 else "yellow" if share >= 0.5 else "red"
