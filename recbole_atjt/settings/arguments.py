"""What a command line holds: ``--key=value``, and the words and switches of a subcommand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.settings.yaml_values import parse_value


@dataclass(frozen=True)
class Arguments:
    """What a subcommand was given.

    Args:
        words: What stands without ``--``, such as a file.
        values: The keys; a switch alone is ``"True"``.
    """

    words: list[str]
    values: dict[str, str] = field(default_factory=dict)

    def parsed(self, key: str, default: Any = None) -> Any:
        """Return a key's value, read as YAML, or ``default`` where it is not given."""
        return parse_value(self.values[key]) if key in self.values else default


def parse_arguments(given: Sequence[str], switches: Collection[str] = ()) -> dict[str, str]:
    """Turn ``--key=value`` and ``--key value`` into a dictionary of strings.

    Args:
        given: The words of a command line.
        switches: Keys that mean True when they stand alone.

    Raises:
        UsageError: Something else than ``--key=value``, or a key given twice.
    """
    return _parse(given, 0, switches).values


def read_arguments(
    command: str,
    given: Sequence[str],
    keys: Collection[str],
    required: Collection[str] = (),
    words: Sequence[str] = (),
    switches: Collection[str] = (),
    letters: Collection[str] = (),
) -> Arguments:
    """Read the command line of a subcommand whose keys are all known.

    Args:
        command: Its name, for messages.
        given: The words after its name.
        keys: The keys that it takes, switches included.
        required: Those that it cannot do without.
        words: What the words without ``--`` are, such as ``FILE``; all are required.
        switches: Keys that mean True when they stand alone.
        letters: Keys of one letter, before which a single dash will do.

    Raises:
        UsageError: An unknown key, a missing key or word, or what :func:`parse_arguments` refuses.
    """
    found = _parse([_two_dashes(each, letters) for each in given], len(words), switches)
    for key in found.values:
        if key not in keys:
            raise UsageError(f"key '{key}' is unknown{nearest(key, keys)}; see {command} --help")
    for word in words[len(found.words) :]:
        raise UsageError(f"{word} is missing: {command} {' '.join(words)}; see {command} --help")
    for key in required:
        if key not in found.values:
            raise UsageError(f"{key} is missing: give --{key}=VALUE; see {command} --help")
    return found


def _two_dashes(argument: str, letters: Collection[str]) -> str:
    """Return ``-k`` and ``-k=1`` as ``--k`` and ``--k=1``, and everything else as it is."""
    letter = argument[1:].partition("=")[0]
    return f"-{argument}" if argument.startswith("-") and letter in letters else argument


def _parse(given: Sequence[str], words: int, switches: Collection[str]) -> Arguments:
    found = Arguments([])
    rest = list(given)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") and len(found.words) < words:
            found.words.append(argument)
            continue
        if not argument.startswith("--") or argument == "--":
            raise UsageError(f"argument '{argument}' is not of the form --key=value; see --help")
        key, equals, value = argument[2:].partition("=")
        if not equals and key in switches:
            value = "True"
        elif not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"argument '{argument}' has no value: write {argument}=VALUE")
            value = rest.pop(0)
        if key in found.values:
            raise UsageError(f"key '{key}' is given twice: {found.values[key]} and {value}")
        found.values[key] = value
    return found
