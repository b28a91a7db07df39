"""The page of a result: what it shows, what it warns of, and that nothing hostile gets in."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_atjt.cli import main
from recbole_atjt.errors import UsageError
from recbole_atjt.report.known import Known
from recbole_atjt.report.page import drawing, page, write_page
from recbole_atjt.report.page.html import Markup, element
from recbole_atjt.report.page.look import looks
from recbole_atjt.report.result import ExperimentResult
from recbole_atjt.report.selection import configurations, difference
from tests.results import hostile_runs, run_of, runs
from tests.runs import arguments


class Read(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.svgs: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "svg":
            self.svgs.append(dict(attrs))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def whole() -> str:
    return page(runs())


def test_a_page_shows_every_figure_and_table(whole: str) -> None:
    read = Read(whole)
    assert not read.open
    labels = [svg["aria-label"] or "" for svg in read.svgs]
    # Loss, validation, recogniser; share, weights; two histograms, ROC, precision-recall.
    assert len(labels) == 9
    assert "none: 2.0000" not in labels[0]
    assert "none: 1.2222 in epoch 0, 0.5222 in epoch 2" in labels[0]  # 2 / (epoch + seed)
    assert {svg["role"] for svg in read.svgs} == {"img"}
    for words in (
        "Piano, The",
        "headroom recovered",
        "Before you believe it",
        "4 configurations, seeds not counted",
        "erm_revised",
        "2.13.0",
        "valid_metric",
        "the difference of channel and none in NDCG@10, +0.0010, is smaller than the spread of "
        "the seeds, 0.0100",
    ):
        assert words in read.text, words
    assert "the difference of atjt" not in read.text
    assert "Not shown" not in read.text
    assert len(whole) < 300_000


def test_a_page_is_the_same_again(whole: str) -> None:
    assert page(runs()) == whole


def test_nothing_is_loaded_and_every_link_leads_somewhere(whole: str) -> None:
    read = Read(whole)
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    assert read.values("href")
    assert {link[1:] for link in read.values("href")} <= set(ids)
    assert set(read.values("aria-labelledby")) <= set(ids)
    assert all(link.startswith("#") for link in read.values("href"))
    assert set(re.findall(r"url\(#([^)]+)\)", whole)) <= set(ids)
    assert not re.search(r"https?:|@import|url\((?!#)", whole)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(read.tags)
    (policy,) = [value for value in read.values("content") if "default-src" in value]
    assert policy.startswith("default-src 'none'")


def test_figures_take_their_colors_from_the_page(whole: str) -> None:
    used = {
        color
        for svg in re.findall(r"<svg.*?</svg>", whole, re.S)
        for color in re.findall(r"#[0-9a-f]{6}\b|\bblack\b", svg)
    }
    assert not used
    style = whole[whole.index("<style>") : whole.index("</style>")]
    light, dark = style.split("prefers-color-scheme: dark")
    for name in set(re.findall(r"var\(--([a-z0-9-]+)\)", whole)) - {"part"}:
        assert f"--{name}: " in light, name
        assert f"--{name}: " in dark, name


def test_strategies_differ_in_color_dash_and_marker() -> None:
    found = looks(["none", "atjt", "channel", "t_ce", "r_ce", "oracle"])
    assert len({look.color for look in found.values()}) == 6
    assert len({look.marker for look in found.values()}) == 6
    assert len({str(look.dash) for look in found.values()}) >= 5


def test_hostile_text_stays_text(whole: str) -> None:
    text = page(hostile_runs())
    text.encode("utf-8")
    read = Read(text)
    assert not read.open
    assert set(read.tags) <= set(Read(whole).tags)
    assert not [key for key, _ in read.attributes if key.startswith("on")]
    assert "<script>alert(1)</script>" in read.text
    assert "onerror=alert(2)>&amp;$x_1$\ufffd" in read.text


@given(st.text(), st.text())
def test_an_element_gives_back_what_it_was_given(text: str, value: str) -> None:
    made = element("p", text, title=value)
    read = Read(made)
    assert read.tags == ["p"]
    bad = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
    assert read.values("title") == [bad.sub("\ufffd", value)]
    assert "".join(read.words) == bad.sub("\ufffd", text)


def test_markup_is_put_in_as_it_is() -> None:
    assert element("p", Markup("<b>"), class_="x", hidden=True, id=None) == (
        '<p class="x" hidden><b></p>'
    )


def known(*rows: tuple[float, float, float, float]) -> Known:
    names = ("from", "to", "clean", "noisy")
    bins = {name: list(column) for name, column in zip(names, zip(*rows))}
    found = Known.of([run_of(weights={"noise_bins": bins})])
    assert found is not None
    return found


def test_roc_and_precision_recall_by_hand() -> None:
    found = known((0.8, 0.9, 7, 0), (0.1, 0.2, 1, 3), (0.5, 0.6, 2, 1))
    wrong, right = found.roc()
    assert wrong.tolist() == [0.0, 0.1, 0.3, 1.0]
    assert right.tolist() == [0.0, 0.75, 1.0, 1.0]
    # Of 40 pairs the clean one is higher in 3 * 9 + 1 * 7, tied in 3 * 1 + 1 * 2.
    assert found.auroc() == pytest.approx((34 + 2.5) / 40)
    recall, precision = found.precision_recall()
    assert recall.tolist() == [0.75, 1.0, 1.0]
    assert precision.tolist() == [3 / 4, 4 / 7, 4 / 14]
    assert found.average_precision() == pytest.approx(0.75 * 3 / 4 + 0.25 * 4 / 7)
    assert found.share == pytest.approx(4 / 14)


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12
    ).filter(lambda rows: sum(r[1] for r in rows) > 0 and sum(r[2] for r in rows) > 0)
)
def test_auroc_counts_pairs_and_bars_keep_everything(rows: list[tuple[int, int, int]]) -> None:
    found = known(*((low / 40, (low + 1) / 40, clean, noisy) for low, clean, noisy in rows))
    won = sum(
        c * n * ((low > other) + (low == other) / 2) for low, c, _ in rows for other, _, n in rows
    )
    pairs = sum(c for _, c, _ in rows) * sum(n for _, _, n in rows)
    assert found.auroc() == pytest.approx(won / pairs)
    edges, clean, noisy = found.bars()
    assert len(edges) == len(clean) + 1 == len(noisy) + 1
    assert clean.sum() == pytest.approx(1.0)
    assert noisy.sum() == pytest.approx(1.0)
    assert min(clean.min(), noisy.min()) >= 0


def test_a_bin_over_two_bars_is_dealt_by_length() -> None:
    _, clean, noisy = known((0.04, 0.08, 4, 0), (0.5, 0.55, 0, 1)).bars()
    assert clean[:3] == pytest.approx([0.25, 0.75, 0.0])
    assert noisy[10] == pytest.approx(1.0)


def test_seeds_are_gathered_and_what_is_no_number_left_out() -> None:
    bins = {"from": [0.5, 0.1], "to": [0.6, 0.2], "clean": [2, 1], "noisy": [0, 3]}
    broken = {"from": [math.nan], "to": [1.0], "clean": [9], "noisy": [9]}
    found = Known.of([run_of(weights={"noise_bins": each}) for each in (bins, broken, bins)])
    assert found is not None
    assert found.low.tolist() == [0.1, 0.5]
    assert found.clean.tolist() == [2, 4]
    assert found.noisy.tolist() == [6, 0]
    assert Known.of([run_of("none")]) is None
    assert Known.of([run_of(weights={"noise_bins": broken})]) is None


def test_a_difference_is_within_the_spread_or_not() -> None:
    found = difference([0.1, 0.2], [0.2, 0.22])
    assert found.change == pytest.approx(0.06)
    assert found.percent == pytest.approx(40.0)
    assert found.spread == pytest.approx(np.std([0.1, 0.2], ddof=1))
    assert found.is_within_spread
    assert not difference([0.1, 0.11], [0.2, 0.22]).is_within_spread
    alone = difference([0.0], [0.2])
    assert alone.percent is None
    assert alone.spread is None
    assert not alone.is_within_spread


def test_configurations_are_counted_without_seeds() -> None:
    assert configurations(runs()) == 4
    other = replace(run_of(), config={**run_of().config, "epochs": 9})
    assert configurations([run_of(seed=1), run_of(seed=2), other]) == 2


def test_one_seed_is_warned_of() -> None:
    text = Read(page(runs(1))).text
    assert "one seed of none, atjt, channel, oracle; the spread over seeds is unknown" in text


def test_a_log_that_warned_and_other_versions_are_named() -> None:
    odd = replace(run_of(), warnings=["epoch 2: the mean weight left [0.1, 0.9]"], versions={})
    text = Read(page([run_of("none"), odd])).text
    assert "seed 1: epoch 2: the mean weight left" in text
    assert "different versions" in text


def old(run: Any) -> dict[str, Any]:
    """Return a run as a version wrote it that noted neither progress nor histograms."""
    written = asdict(run)
    for name in ("progress", "gate"):
        del written[name]
    for name in ("noise_bins", "noise_items"):
        (written["weights"] or {}).pop(name, None)
    return written


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(text, encoding="utf-8")
    return folder


def test_an_older_result_gives_what_it_can_and_says_the_rest(tmp_path: Path) -> None:
    import json

    folder = write(tmp_path / "old", json.dumps({"runs": [old(run) for run in runs()]}))
    read = Read(page(ExperimentResult.load(folder).runs))
    assert len(read.svgs) == 3  # recogniser, share, weights
    assert "Loss and validation of each epoch: this result was written by a version" in read.text
    assert "did not keep the histogram of weights" in read.text
    assert "not noted" in read.text


def test_a_page_of_plain_training_alone() -> None:
    read = Read(page([run_of("none", weights=None)]))
    assert len(read.svgs) == 2
    assert "Weights: only plain training was run." in read.text
    assert "the oracle was not run" in read.text


def test_a_result_comes_back_from_its_file(tmp_path: Path) -> None:
    written = ExperimentResult(tmp_path, runs())
    written.write()
    assert ExperimentResult.load(tmp_path).runs == written.runs


def test_null_is_not_a_number_again(tmp_path: Path) -> None:
    broken = replace(run_of("none"), test={"ndcg@10": math.nan})
    ExperimentResult(tmp_path, [broken, run_of("atjt")]).write()
    found = ExperimentResult.load(tmp_path).runs
    assert math.isnan(found[0].test["ndcg@10"])
    assert "none has a NDCG@10 that is no number" in Read(page(found)).text


DAMAGED = {
    "": "is damaged: it is no JSON",
    "[" * 100_000: "is damaged: it is no JSON",
    "[]": "is damaged: it is no mapping",
    "{}": "is damaged: it has no 'runs'",
    '{"runs": {}}': "is damaged: runs is no list",
    '{"runs": []}': "holds no run",
    '{"runs": [{"model": "SASRec"}]}': r"runs\[0\] has no 'dataset'",
}
CHANGED: list[tuple[dict[str, Any], str]] = [
    ({"seed": "1"}, r"runs\[0\].seed is '1', not a whole number"),
    ({"seed": True}, r"runs\[0\].seed is 'True', not a whole number"),
    ({"model": None}, r"runs\[0\].model is 'None', not text"),
    ({"test": {"ndcg@10": "high"}}, r"runs\[0\].test.ndcg@10 is 'high', not a number or null"),
    ({"weights": []}, r"runs\[0\].weights is no mapping"),
    ({"weights": {"epochs": [1]}}, r"runs\[0\].weights.epochs\[0\] is no mapping"),
    ({"weights": {"noise_bins": {"from": []}}}, r"runs\[0\].weights.noise_bins has no 'to'"),
    ({"weights": {"noise_items": [{"item": "1"}]}}, r"noise_items\[0\] has no 'title'"),
    ({"progress": [3]}, r"runs\[0\].progress\[0\] is no mapping"),
]


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: text[:30] or "empty")
def test_a_damaged_result_is_refused_in_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "bad", text)
    assert main(["report", str(tmp_path / "bad")]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert re.search(DAMAGED[text], shown)
    assert [path.name for path in (tmp_path / "bad").iterdir()] == ["result.json"]


@pytest.mark.parametrize(("changes", "message"), CHANGED)
def test_a_value_of_another_kind_is_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    import json

    write(tmp_path / "bad", json.dumps({"runs": [{**asdict(run_of()), **changes}]}))
    with pytest.raises(UsageError, match=message):
        ExperimentResult.load(tmp_path / "bad")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is damaged: it is no JSON"):
        ExperimentResult.load(tmp_path)


def test_report_writes_the_page_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = [run_of("none")]
    ExperimentResult(tmp_path / "out", plain).write()
    assert main(["report", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"page: {tmp_path / 'out' / 'report.html'}\n"
    assert main(["report", str(tmp_path / "out"), "--output=elsewhere/page.html"]) == 0
    first = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert first == Path("elsewhere/page.html").read_text(encoding="utf-8") == page(plain)
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_folder_without_a_result_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nowhere"]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "nowhere/result.json can't be read: No such file or directory" in shown


def test_a_page_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be written"):
        write_page([run_of("none")], tmp_path / "file" / "page.html")


def test_without_matplotlib_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drawing, "find_spec", lambda name: None)
    line = "recbole-atjt: a page needs Matplotlib: pip install 'recbole_atjt[report]'\n"
    ExperimentResult(Path("out"), runs(1)).write()
    assert main(["report", "out"]) == 2
    assert capsys.readouterr().err == line
    assert main(["--report", "--output_dir=new"]) == 2  # before anything is trained
    assert capsys.readouterr().err == line
    assert not Path("new").exists()


def test_a_training_ends_with_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments(weighting="none,channel"), "--report"]) == 0
    assert "page: out/report.html" in capsys.readouterr().out
    read = Read(Path("out/report.html").read_text(encoding="utf-8"))
    assert "SASRec on tiny" in read.text
    assert len(read.svgs) >= 4


def test_report_is_true_or_false(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--report=maybe"]) == 2
    assert "report=maybe is neither True nor False" in capsys.readouterr().err
