from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from drillbook.reports.charts.frame import ago, narrow, wide
from drillbook.reports.charts.markers import draw, markers
from drillbook.reports.facts import Facts
from drillbook.reports.renderers import html

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that elements nest, and collects them with their attributes and their text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.titles: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1] == "p" and tag != "p":
            raise AssertionError(f"an open paragraph before </{tag}>")
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        (self.titles if self.open[-1:] == ["title"] else self.words).append(data)


@pytest.fixture(scope="module")
def page(pod_kill_facts: Facts) -> Page:
    return Page(html.render(pod_kill_facts))


def test_the_page_is_one_file_without_scripts_or_anything_from_outside(pod_kill_facts: Facts, page: Page) -> None:
    text = html.render(pod_kill_facts)
    assert len(text) < 1_000_000
    assert not {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in text
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {
        f"#{frame}-{hatch}"
        for frame in ("wide", "narrow")
        for hatch in ("truncated", "hung", "shed", "starting", "terminating", "lying")
    }


def test_the_first_screen_says_verdict_reason_and_headline_figures(pod_kill_facts: Facts, page: Page) -> None:
    text = " ".join(" ".join(page.words).split())
    first = text[: text.index("Findings")]
    assert "✓ held" in first
    assert pod_kill_facts.header.reason in first  # a sentence already
    assert "delete 1 of 3 engine pods with grace 0s at +5s" in first
    for figure in pod_kill_facts.headline:
        assert figure.value in first


def test_drawings_tell_readers_who_cannot_see_them(page: Page) -> None:
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(drawings) == 3
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in drawings:
        assert attributes["role"] == "img"
        assert set((attributes["aria-labelledby"] or "").split()) <= set(ids)


def test_the_bars_add_up_to_the_requests(pod_kill_facts: Facts, page: Page) -> None:
    bars = [re.fullmatch(r"\S+( s)?: (\d+) (ok|failed|truncated|hung|shed|unknown)", title) for title in page.titles]
    counted: dict[str, int] = {}
    for match in filter(None, bars):
        counted[match[3]] = counted.get(match[3], 0) + int(match[2])
    expected = {outcome: 2 * count for outcome, count in pod_kill_facts.harm.outcomes.items() if count}
    assert counted == expected  # each of the two drawings has them once


def test_every_request_has_its_dot(pod_kill_facts: Facts, page: Page) -> None:
    marks = [
        attributes
        for _, attributes in page.elements
        if (attributes.get("class") or "").split()[:1] in (["dot-ok"], ["dot-none"], ["dot-cut"])
    ]
    legend = 2 * 2  # a swatch for requests and one for those without a first token, in each drawing
    assert len(marks) == 2 * pod_kill_facts.harm.total + legend


def test_green_while_users_failed_is_as_long_in_the_drawing_as_in_the_facts(engine_hang_facts: Facts) -> None:
    drawn = Page(html.render(engine_hang_facts))
    frame = wide(engine_hang_facts.series.start, engine_hang_facts.series.end)
    ((start, end),) = engine_hang_facts.clocks.green_while_broken
    lying = [
        attributes for tag, attributes in drawn.elements if tag == "rect" and attributes.get("class") == "lane lying"
    ]
    assert float(lying[0]["width"] or 0) == pytest.approx(frame.x(end) - frame.x(start), abs=0.1)
    assert "all green 20s" in " ".join(drawn.words)


def test_labels_of_markers_do_not_overlap(pod_kill_facts: Facts) -> None:
    for frame in (wide(-16, 80), narrow(-16, 80)):
        drawing, _ = draw(markers(pod_kill_facts), frame, 500)
        labels = re.findall(
            r'<text x="([\d.-]+)" y="([\d.]+)" class="mark-label \w+"( text-anchor="end")?>([^<]+)', drawing
        )
        spans: dict[str, list[tuple[float, float]]] = {}
        for x, y, end, words in labels:
            left = float(x) - (len(words) * 6.1 if end else 0)
            spans.setdefault(y, []).append((left, left + len(words) * 6.1))
        assert len(labels) == len(markers(pod_kill_facts))
        for row in spans.values():
            row.sort()
            assert all(a[1] <= b[0] for a, b in pairwise(row))
            assert row[0][0] >= 0
            assert row[-1][1] <= frame.width


def test_moments_read_as_people_write_them() -> None:
    assert [ago(t) for t in (0, 5, -15, 0.25, 90, 3700)] == ["0", "+5 s", "\u221215 s", "+0.2 s", "+90 s", "+1:01 h"]
    assert ago(125) == "+2:05"


def test_the_style_sheet_serves_dark_screens_and_paper(repository: Path) -> None:
    css = (repository / "reports" / "report.css").read_text()
    assert "prefers-color-scheme: dark" in css
    assert "@media print" in css
