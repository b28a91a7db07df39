"""``recommend``: the best items for users or histories, from a checkpoint alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.settings.arguments import Arguments, read_arguments
from recbole_atjt.settings.yaml_values import require_switch

if TYPE_CHECKING:
    from recbole_atjt.serving.queries import Query

KEYS = ("user", "history", "file", "k", "exclude_seen", "format", "model")
SWITCHES = ("exclude_seen",)
USAGE = """\
usage: recbole-atjt recommend CHECKPOINT
                    --user=ID[,ID] | --history="item,item" | --file=FILE
                    [-k 10] [--exclude_seen] [--format=table|csv|json]
                    [--model=module:Class]

Recommend the best items by a trained model. The checkpoint is all that it takes;
the data need not be there. More: docs/serving.md.

  CHECKPOINT      the best model of a run, output_dir/checkpoints/NAME.safetensors,
                  or the .onnx file that export made of it
  --user          users that the model was trained with; their known clicks are
                  the history
  --history       clicked items, the oldest first; with one --user, in the place of
                  its known clicks
  --file          a user, a history or both a line: FILE.csv with a column user,
                  history (items with spaces between) or both; FILE.jsonl with
                  lines such as {"user": "196"} or {"history": ["50", "172"]}
  -k              most items of an answer [10]
  --exclude_seen  leave out what was clicked
  --format        table; csv, a line an item; json, an object a query [table]
  --model         the class of a model that is none of RecBole's or ours

Unknown users and items are left out, with a line on stderr that counts them. If that
leaves nothing, the exit code is 2.
"""


def usage() -> str:
    """Return what ``recommend --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Print recommendations."""
    given = read_arguments(
        "recommend", arguments, KEYS, words=("CHECKPOINT",), switches=SWITCHES, letters=("k",)
    )
    from recbole_atjt.serving.queries import Unknown
    from recbole_atjt.serving.recommender import Recommender
    from recbole_atjt.serving.shown import FORMATS, Answer

    form = given.values.get("format", "table")
    if form not in FORMATS:
        raise UsageError(
            f"format={form} is unknown{nearest(form, FORMATS)}: use {', '.join(FORMATS)}"
        )
    k = given.parsed("k", 10)
    exclude_seen = require_switch("exclude_seen", given.parsed("exclude_seen", False))
    queries, lines = _queries(given)
    recommender = Recommender.load(given.words[0], given.values.get("model"))
    unknown, asked, answered = Unknown(), 0, 0

    def answers() -> Iterator[Answer]:
        nonlocal asked, answered
        passing: list[Query] = []  # read ahead by the recommender, and not answered yet
        found = recommender.answers(
            _noted(_shown(queries, lines), passing), k, exclude_seen, unknown
        )
        for items in found:
            asked += 1
            answered += bool(items)
            yield Answer(asked, passing.pop(0), items)

    for line in FORMATS[form](answers()):
        print(line)
    for line in unknown.lines():
        print(f"recbole-atjt: {line}", file=sys.stderr)
    return 0 if answered or not asked else UsageError.exit_code


def _noted(queries: Iterable[Query], passing: list[Query]) -> Iterator[Query]:
    for query in queries:
        passing.append(query)
        yield query


def _queries(given: Arguments) -> tuple[Iterable[Query], int]:
    """Return the queries, and how many lines they are read from; 0 where from the command line."""
    from recbole_atjt.serving.files import count_lines, read_queries
    from recbole_atjt.serving.queries import Query

    user, history, file = (given.values.get(key) for key in ("user", "history", "file"))
    if file is not None:
        if user is not None or history is not None:
            raise UsageError(
                f"file={file} has users and histories of its own: leave out the others"
            )
        path = Path(file)
        if not path.is_file():
            raise UsageError(f"file={file}: there is no such file")
        return read_queries(path), count_lines(path)
    users = [] if user is None else _listed("user", user)
    if history is None:
        if user is None:
            raise UsageError("recommend needs --user, --history or --file; see recommend --help")
        return [Query(each) for each in users], 0
    if len(users) > 1:
        raise UsageError(f"user={user} are several, and --history is of one: give them in a file")
    return [Query(users[0] if users else None, tuple(_listed("history", history)))], 0


def _listed(key: str, text: str) -> list[str]:
    found = [each.strip() for each in text.split(",")]
    if not all(found):
        raise UsageError(f"{key}={text!r} has an empty name between its commas")
    return found


def _shown(queries: Iterable[Query], lines: int) -> Iterable[Query]:
    """Show how far a file is, unless the answers scroll by or nobody looks."""
    if not lines or sys.stdout.isatty():
        return queries
    from tqdm import tqdm

    return tqdm(queries, total=lines, unit="query", disable=None, leave=False, file=sys.stderr)
