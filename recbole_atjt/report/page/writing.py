"""A run's result as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_atjt.data.replacing import write_whole
from recbole_atjt.report.page import tables
from recbole_atjt.report.page.curves import noise_pictures, training_pictures
from recbole_atjt.report.page.drawing import require_matplotlib
from recbole_atjt.report.page.html import Markup, element
from recbole_atjt.report.page.known import known_pictures
from recbole_atjt.report.page.notices import findings, missing, warnings
from recbole_atjt.report.page.picture import Block, Picture
from recbole_atjt.report.result import RunResult
from recbole_atjt.report.selection import configurations

#: Name of the page in a call's folder.
PAGE = "report.html"
#: Nothing is loaded, nothing is run.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_page(runs: Sequence[RunResult], path: str | Path) -> Path:
    """Write the page of a call's runs, by rename, so that it is never half.

    Args:
        runs: Runs of any models, datasets, strategies and seeds; at least one.
        path: The HTML file.

    Returns:
        The file.

    Raises:
        UsageError: Matplotlib is missing, or the file can't be written.
    """
    path = Path(path)
    write_whole(path, page(runs))
    return path


def page(runs: Sequence[RunResult]) -> str:
    """Return the page of a call's runs as text.

    Args:
        runs: At least one.

    Raises:
        UsageError: Matplotlib is missing.
    """
    require_matplotlib()
    pairs = dict.fromkeys((run.model, run.dataset) for run in runs)
    blocks = [
        Block(place, [run for run in runs if (run.model, run.dataset) == pair])
        for place, pair in enumerate(pairs, start=1)
    ]
    models, datasets = (", ".join(dict.fromkeys(names)) for names in zip(*pairs))
    title = f"{models} on {datasets}"
    links = [(f"block-{block.number}", block.title) for block in blocks]
    links += [("selection", "Selection"), ("settings", "Settings")]
    main = [
        _notices(blocks),
        *(_block(block) for block in blocks),
        _selection(blocks),
        _settings(runs),
    ]
    body = [
        element("a", "Skip to the results", href="#main", class_="skip"),
        element(
            "header",
            element("h1", title),
            element("p", _summary(runs)),
            element("nav", *(element("a", text, href=f"#{to}") for to, text in links)),
        ),
        element("main", *main, id="main", tabindex="-1"),
    ]
    return "<!doctype html>\n" + element("html", _head(title), element("body", *body), lang="en")


def _head(title: str) -> Markup:
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", Markup(style)),
    )


def _summary(runs: Sequence[RunResult]) -> str:
    strategies = list(dict.fromkeys(run.weighting for run in runs))
    seeds = len({run.seed for run in runs})
    return (
        f"{len(runs)} runs: {', '.join(strategies)}; {seeds} seed{'s' if seeds > 1 else ''}. Made "
        f"with recbole_atjt {runs[0].versions.get('recbole_atjt', 'of an unknown version')}."
    )


def _notices(blocks: Sequence[Block]) -> Markup:
    found = warnings(blocks)
    if not found:
        return Markup()
    listed = element("ul", *(element("li", line) for line in found))
    heading = element("h2", "Before you believe it", id="before")
    return element("section", heading, listed, class_="notices", aria_labelledby="before")


def _block(block: Block) -> Markup:
    name = f"block-{block.number}"
    lines = findings(block)
    parts: list[Markup] = [element("h2", block.title, id=name)]
    if lines:
        parts.append(element("ul", *(element("li", line) for line in lines)))
    parts += [element("h3", f"Comparison on {block.part}"), tables.comparison_table(block)]
    parts.append(
        element(
            "p",
            "Mean ± standard deviation over seeds; below it the change against none. "
            f"{tables.WITHIN} marks a difference smaller than the spread of the seeds. Validation "
            f"chose the epochs by {block.metric.upper()}.",
            class_="note",
        )
    )
    parts += _gallery("Training", training_pictures(block))
    parts += _gallery("Noise and weights", noise_pictures(block))
    told = tables.noise_table(block)
    if told is not None:
        parts += [element("h3", "How weights tell known noise"), told]
        parts += _gallery("", known_pictures(block))
    suspects = tables.suspects_tables(block)
    if suspects:
        parts.append(element("h3", "Items held most responsible"))
        parts.append(element("div", *suspects, class_="pair"))
    gaps = missing(block)
    if gaps:
        parts.append(element("h3", "Not shown"))
        parts.append(element("ul", *(element("li", line) for line in gaps), class_="note"))
    every = element("summary", "Every run")
    parts.append(element("details", every, tables.runs_table(block)))
    return element("section", *parts, aria_labelledby=name)


def _gallery(title: str, pictures: Sequence[Picture]) -> list[Markup]:
    if not pictures:
        return []
    shown = element("div", *(each.markup() for each in pictures), class_="gallery")
    return [element("h3", title), shown] if title else [shown]


def _selection(blocks: Sequence[Block]) -> Markup:
    tried = sum(configurations(runs) for block in blocks for runs in block.strategies.values())
    return element(
        "section",
        element("h2", "Selection", id="selection"),
        element(
            "p",
            f"In these runs {tried} configurations, seeds not counted, were tried on validation; "
            "metrics chose on validation only, and the test data were evaluated once a run, with "
            "the chosen epoch. Runs that lie elsewhere are not counted.",
        ),
        tables.selection_table(blocks),
        element(
            "p",
            "Validation may be noisy as well: ",
            element("code", "--weighting=none,erm_revised"),
            " shows plain training beside plain training that selects without its largest "
            "validation losses.",
            class_="note",
        ),
        aria_labelledby="selection",
    )


def _settings(runs: Sequence[RunResult]) -> Markup:
    varied, same = tables.settings_tables(runs)
    return element(
        "section",
        element("h2", "Settings and versions", id="settings"),
        element("h3", "Versions"),
        tables.versions_table(runs),
        element("h3", "Settings that differ between runs"),
        varied,
        element("details", element("summary", "Settings that all runs have"), same),
        aria_labelledby="settings",
    )
