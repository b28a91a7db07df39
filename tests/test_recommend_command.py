"""``recommend``: users, histories and files; tables, CSV and JSON; what is unknown; -k."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from recbole_atjt import Recommender, UsageError
from recbole_atjt.cli import main
from recbole_atjt.serving.files import count_lines, read_queries
from recbole_atjt.serving.queries import Query
from recbole_atjt.serving.recommender import Recommendation
from recbole_atjt.serving.shown import WIDTH, Answer, table_lines
from recbole_atjt.settings.arguments import read_arguments
from tests.served import Served, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve("SASRec", tmp_path_factory.mktemp("sasrec"))


def run(
    served: Served, capsys: pytest.CaptureFixture[str], *given: str
) -> tuple[int, str, list[str]]:
    """Run the command; return its exit code, what it printed and the lines of errors."""
    capsys.readouterr()
    code = main(["recommend", str(served.path), *given])
    shown = capsys.readouterr()
    return code, shown.out, shown.err.splitlines()


def test_a_table_for_people(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, errors = run(served, capsys, "--user=u1,u2", "-k", "3")
    assert (code, errors) == (0, [])
    first, second = out.rstrip("\n").split("\n\n")
    expected = Recommender.load(served.path).recommend(users=["u1", "u2"], k=3)
    for user, block, answer in (("u1", first, expected[0]), ("u2", second, expected[1])):
        head, *lines = block.splitlines()
        assert head == f"user {user}"
        assert len(lines) == 3
        for rank, (line, each) in enumerate(zip(lines, answer), start=1):
            assert line.split() == [str(rank), each.item, *each.title.split(), f"{each.score:.4g}"]
            assert len(line) <= WIDTH


def test_csv_and_json_say_the_same(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    history = ",".join(served.clicks["u5"])
    given = (f"--history={history}", "--k=4", "--exclude_seen")
    code, out, errors = run(served, capsys, *given, "--format=csv")
    assert (code, errors) == (0, [])
    rows = list(csv.DictReader(io.StringIO(out)))
    code, out, errors = run(served, capsys, *given, "--format=json")
    assert (code, errors) == (0, [])
    (line,) = out.splitlines()
    found = json.loads(line)
    assert (found["query"], found["user"], len(found["items"])) == (1, None, 4)
    for rank, (row, item) in enumerate(zip(rows, found["items"]), start=1):
        assert row["title"] == item["title"] == f"Title, the {item['item'][1:]}."
        assert (row["query"], row["user"], row["rank"]) == ("1", "", str(rank))
        assert (row["item"], float(row["score"])) == (item["item"], item["score"])
    (expected,) = Recommender.load(served.path).recommend([history.split(",")], 4, True)
    assert [each["item"] for each in found["items"]] == [each.item for each in expected]


def test_a_file_of_lines_is_answered_in_its_order(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    clicks = served.clicks
    queries: list[dict[str, Any]] = [{"user": "u1"}, {"user": "?"}, {"history": clicks["u2"]}]
    queries += [{"user": f"u{number % 24}"} for number in range(2100)]  # more than are read at once
    Path("asked.jsonl").write_text("\n".join(map(json.dumps, queries)) + "\n\n")
    code, out, errors = run(served, capsys, "--file=asked.jsonl", "-k=1", "--format=json")
    assert code == 0
    assert errors == [
        "recbole-atjt: 1 user is unknown to the model (?; 1 time): no recommendations for them"
    ]
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["query"] for each in found] == list(range(1, len(queries) + 1))
    assert [each["user"] for each in found] == [each.get("user") for each in queries]
    assert found[1]["items"] == []
    best = {
        user: answer[0].item
        for user, answer in zip(
            clicks, Recommender.load(served.path).recommend(users=list(clicks), k=1)
        )
    }
    assert found[2]["items"][0]["item"] == best["u2"]
    for each in found[3:]:
        assert each["items"][0]["item"] == best[each["user"]]


def test_a_csv_file(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    history = " ".join(served.clicks["u3"])
    Path("asked.csv").write_text(
        f'\ufeffhistory,user,note\n,u1,x\n{history},,"y, z"\n{history},u1,\n'
    )
    code, out, errors = run(served, capsys, "--file=asked.csv", "-k", "2", "--format=csv")
    assert (code, errors) == (0, [])
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["user"] for row in rows] == ["u1", "u1", "", "", "u1", "u1"]
    by_user = Recommender.load(served.path).recommend(users=["u1", "u3"], k=2)
    items = [row["item"] for row in rows]
    assert items[:2] == [each.item for each in by_user[0]]
    assert items[2:4] == items[4:] == [each.item for each in by_user[1]]


def test_nothing_known_is_an_error(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, errors = run(served, capsys, "--user=x,y", "--format=csv")
    assert (code, out) == (2, "query,user,rank,item,title,score\n")
    assert errors == [
        "recbole-atjt: 2 users are unknown to the model (x, y; 2 times): "
        "no recommendations for them"
    ]
    code, out, errors = run(served, capsys, "--history=x")
    assert (code, out) == (2, "history 1\n  no recommendations\n")
    assert len(errors) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "needs --user, --history or --file"),
        (["--user=u1", "--format=xml"], "format=xml is unknown: use table, csv, json"),
        (["--user=u1,,u2"], "user='u1,,u2' has an empty name between its commas"),
        (["--user=u1,u2", "--history=i1"], "user=u1,u2 are several, and --history is of one"),
        (["--user=u1", "-k", "0"], "k=0 is not a whole number of at least 1"),
        (["--user=u1", "-k", "ten"], "k=ten is not a whole number"),
        (["--user=u1", "-k"], "argument '--k' has no value"),
        (["--user=u1", "--exclude_seen=perhaps"], "exclude_seen=perhaps is neither True nor False"),
        (["--user=u1", "--file=x.csv"], "file=x.csv has users and histories of its own"),
        (["--file=none.csv"], "file=none.csv: there is no such file"),
        (["--file=some.txt"], "file=some.txt ends in none of .csv, .jsonl"),
        (["--file=columns.csv"], "has the columns a, b: name one of them user, or history"),
        (["--file=empty.csv"], "has the columns of an empty file"),
        (["--file=gap.csv"], "file=gap.csv, line 3: neither a user nor a history"),
        (["--file=bad.jsonl"], "file=bad.jsonl, line 2 is no JSON"),
        (["--file=list.jsonl"], "file=list.jsonl, line 1 is no query"),
        (["--file=key.jsonl"], "file=key.jsonl, line 1 is no query"),
        (["--file=text.jsonl"], "line 1: history='i1' is no list of items"),
        (["--file=float.jsonl"], "line 1: 1.5 is no name of a user or an item"),
        (["--file=null.jsonl"], "a query names neither a user nor a history"),
        (["--file=latin.csv"], "file=latin.csv is not in UTF-8"),
        (["--user=u1", "--kk=3"], "key 'kk' is unknown"),
        (["--user=u1", "-m", "3"], "argument '-m' is not of the form --key=value"),
    ],
)
def test_wrong_calls_end_in_one_line(
    served: Served, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    for name, text in {
        "some.txt": "u1",
        "columns.csv": "a,b\n1,2\n",
        "empty.csv": "",
        "gap.csv": "user,history\nu1,\n, \n",
        "bad.jsonl": '{"user": "u1"}\n{"user"\n',
        "list.jsonl": "[1]",
        "key.jsonl": '{"usr": "u1"}',
        "text.jsonl": '{"history": "i1"}',
        "float.jsonl": '{"user": 1.5}',
        "null.jsonl": '{"user": null}',
    }.items():
        Path(name).write_text(text)
    Path("latin.csv").write_bytes(b"user\nu\xe9\n")
    code, _, errors = run(served, capsys, *given)
    (line,) = errors
    assert code == 2
    assert message in line


def test_queries_of_a_file() -> None:
    Path("a.jsonl").write_text('{"user": 5, "history": [1, "x"]}\n')
    assert list(read_queries(Path("a.jsonl"))) == [Query("5", ("1", "x"))]
    Path("b.csv").write_text("user\n a b \n")
    assert list(read_queries(Path("b.csv"))) == [Query(" a b ", None)]
    assert count_lines(Path("b.csv")) == 2


def test_a_bar_is_for_terminals(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.csv").write_text("user\n" + "u1\n" * 50)
    assert run(served, capsys, "--file=a.csv", "--format=csv")[2] == []
    capsys.readouterr()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["recommend", str(served.path), "--file=a.csv", "--format=csv"]) == 0
    assert "query/s" in capsys.readouterr().err


def test_long_names_are_cut() -> None:
    items = [Recommendation("i" * 60, 0.5, "t" * 90), Recommendation("j", -1234.5, "é")]
    lines = list(table_lines(iter([Answer(1, Query("u"), items)])))
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[1].count("…") == 2
    assert lines[2].split() == ["2", "j", "é", "-1234"]


def test_one_dash_will_do_for_a_letter() -> None:
    for words in (["-k", "5"], ["-k=5"], ["--k", "5"], ["--k=5"]):
        assert read_arguments("x", words, ("k",), letters=("k",)).parsed("k") == 5
    for words in (["-k5"], ["-j", "5"], ["-"], ["-kk=5"]):
        with pytest.raises(UsageError, match="is not of the form"):
            read_arguments("x", words, ("k",), letters=("k",))
    with pytest.raises(UsageError, match="'-k' is not of the form"):
        read_arguments("x", ["-k", "5"], ("k",))
    with pytest.raises(UsageError, match="key 'k' is given twice: 5 and 6"):
        read_arguments("x", ["-k", "5", "--k=6"], ("k",), letters=("k",))
