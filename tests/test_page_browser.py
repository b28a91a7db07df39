"""The page in a real browser: drawn, quiet, light and dark, narrow, and without a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recbole_atjt.report.page import write_page
from tests.browser import Tab, browsing
from tests.results import hostile_runs, runs

pytestmark = pytest.mark.slow

#: Contrast that text needs, and that lines need (WCAG 2.2, 1.4.3 and 1.4.11).
TEXT, LINES = 4.5, 3.0
_COLOR = """
const light = (color) => {
  const part = color.match(/[\\d.]+/g).slice(0, 3).map(Number).map(x => x / 255)
    .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
};
const contrast = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const ground = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (color !== 'rgba(0, 0, 0, 0)') return color;
  }
  return 'rgb(255, 255, 255)';
};
"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two blocks, one with long names."""
    long = [
        replace(run, dataset="a-dataset-with-a-name-that-is-as-long-as-a-whole-line-" * 2)
        for run in runs(1)
    ]
    return write_page([*runs(), *long], tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 375, 1200])
def test_every_figure_is_drawn_and_nothing_is_too_wide(
    tab: Tab, file: Path, width: int, scheme: str
) -> None:
    tab.messages.clear()
    tab.requests.clear()
    tab.open(file, width, scheme)
    shown = tab.ask(
        "[...document.querySelectorAll('svg')].map(svg => {"
        "  const box = svg.getBoundingClientRect();"
        "  const lines = [...svg.querySelectorAll('g path, g use')].filter(line => {"
        "    const { width, height } = line.getBoundingClientRect();"
        "    return width + height > 0; });"
        "  return [box.width, box.height, box.left, box.right, lines.length]; })"
    )
    assert len(shown) == 18
    for wide, high, left, right, lines in shown:
        assert wide > 220
        assert high > 150
        assert left >= 0
        assert right <= width
        assert lines > 10
    root = "document.documentElement"
    assert tab.ask(f"{root}.scrollWidth") <= tab.ask(f"{root}.clientWidth") == width
    assert tab.messages == []
    assert tab.requests == [file.resolve().as_uri()]


def test_labels_of_figures_stay_inside_and_apart(tab: Tab, file: Path) -> None:
    tab.open(file, 1200)
    outside = tab.ask(
        "[...document.querySelectorAll('svg')].flatMap(svg => {"
        "  const box = svg.getBoundingClientRect();"
        "  return [...svg.querySelectorAll('text')].filter(text => {"
        "    const own = text.getBoundingClientRect();"
        "    return own.left < box.left - 1 || own.right > box.right + 1"
        "      || own.top < box.top - 1 || own.bottom > box.bottom + 1;"
        "  }).map(text => text.textContent); })"
    )
    assert outside == []
    assert tab.ask("document.querySelectorAll('svg text').length") > 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out(tab: Tab, file: Path, scheme: str) -> None:
    tab.open(file, 1200, scheme)
    tab.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
    dark = tab.ask(f"(() => {{ {_COLOR} return light(ground(document.body)) < 0.2; }})()")
    assert dark == (scheme == "dark")
    texts = tab.ask(
        f"(() => {{ {_COLOR}"
        "const nodes = [...document.querySelectorAll('h1,h2,h3,p,li,th,td,a,small,summary,code,"
        "figcaption,svg text')];"
        "return Math.min(...nodes.map(node => {"
        "  const style = getComputedStyle(node);"
        "  return contrast(node.tagName === 'text' ? style.fill : style.color, ground(node));"
        "})); })()"
    )
    assert texts >= TEXT
    lines = tab.ask(
        f"(() => {{ {_COLOR}"
        "const figure = document.querySelector('figure');"
        "const style = getComputedStyle(figure);"
        "const probe = document.createElement('span'); figure.append(probe);"
        "return ['ink', 'muted', 'clean', 'noisy', 1, 2, 3, 4, 5, 6].map(name => {"
        "  const key = typeof name === 'number' ? `--series-${name}` : `--${name}`;"
        "  probe.style.color = style.getPropertyValue(key);"
        "  return contrast(getComputedStyle(probe).color, ground(figure)); }); })()"
    )
    assert min(lines) >= LINES


def test_figures_change_their_colors_with_the_page(tab: Tab, file: Path) -> None:
    found = []
    for scheme in ("light", "dark"):
        tab.open(file, 1200, scheme)
        found.append(
            tab.ask(
                "[...document.querySelectorAll('svg text, svg path[style*=series]')]"
                ".map(node => getComputedStyle(node)).map(style => style.fill + style.stroke)"
            )
        )
    light, dark = found
    assert len(light) == len(dark) > 200
    assert not [one for one, other in zip(light, dark) if one == other]


def test_the_keyboard_reaches_everything_in_order(tab: Tab, file: Path) -> None:
    tab.open(file, 1200)
    wanted = tab.ask(
        "[...document.querySelectorAll('a[href], summary, .scroll')]"
        ".filter(node => node.checkVisibility()).length"
    )
    where = "[...document.querySelectorAll('*')].indexOf(document.activeElement)"
    places = []
    outlines = set()
    for _ in range(wanted):
        tab.press("Tab")
        places.append(tab.ask(where))
        outlines.add(tab.ask("getComputedStyle(document.activeElement).outlineStyle"))
    assert places == sorted(set(places))
    assert len(places) == wanted > 25
    assert outlines == {"solid"}


def test_the_skip_link_and_details_open_by_enter(tab: Tab, file: Path) -> None:
    tab.open(file, 375)
    tab.press("Tab")
    assert tab.ask("document.activeElement.textContent") == "Skip to the results"
    assert tab.ask("document.activeElement.getBoundingClientRect().left") >= 0
    tab.press("Enter")
    assert tab.ask("document.activeElement.id") == "main"
    tab.ask("document.querySelector('figure summary').focus()")
    tab.press("Enter")
    assert tab.ask("document.querySelector('figure details').open")
    root = "document.documentElement"
    assert tab.ask(f"{root}.scrollWidth") == tab.ask(f"{root}.clientWidth") == 375


def test_a_wide_table_scrolls_in_its_own_box(tab: Tab, file: Path) -> None:
    tab.open(file, 320)
    tab.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
    wider = tab.ask(
        "[...document.querySelectorAll('.scroll')]"
        ".filter(box => box.scrollWidth > box.clientWidth).length"
    )
    assert wider > 0
    assert tab.ask("document.documentElement.scrollWidth") == 320


def test_headings_leave_no_level_out(tab: Tab, file: Path) -> None:
    tab.open(file)
    levels = tab.ask(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5')].map(node => Number(node.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    unnamed = tab.ask(
        "[...document.querySelectorAll('svg, .scroll')]"
        ".filter(node => !(node.getAttribute('aria-label') || '').trim()).length"
    )
    assert unnamed == 0


def test_hostile_text_is_shown_and_does_nothing(tab: Tab, tmp_path: Path) -> None:
    tab.messages.clear()
    tab.requests.clear()
    file = write_page(hostile_runs(), tmp_path / "page.html")
    tab.open(file)
    assert "<script>alert(1)</script>" in tab.ask("document.querySelector('h1').textContent")
    assert tab.ask("document.querySelectorAll('script, img').length") == 0
    assert tab.messages == []
    assert tab.requests == [file.resolve().as_uri()]
