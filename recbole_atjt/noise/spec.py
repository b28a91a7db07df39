"""Reading ``plant``, ``plant_seed`` and ``plant_items``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recbole_atjt.errors import UsageError, nearest
from recbole_atjt.noise.kinds import KINDS
from recbole_atjt.noise.plan import BAIT, SEED, Plan

_FORM = "KIND:SHARE[,KIND:SHARE], such as clickbait:0.3"


def plan_of(config: Any) -> Plan | None:
    """Read it from a RecBole config; None where nothing is planted.

    Raises:
        UsageError: One of the three values is wrong; the line names it.
    """
    seed = _default(config["plant_seed"], SEED)
    items = _default(config["plant_items"], BAIT)
    return read_plan(config["plant"], seed, items)


def read_plan(plant: Any, seed: Any = SEED, items: Any = BAIT) -> Plan | None:
    """Parse and check what is to be planted.

    Args:
        plant: ``KIND:SHARE[,KIND:SHARE]``, or a mapping of kinds to shares; None is nothing.
        seed: Seed of the planting.
        items: Number of clickbait items.

    Raises:
        UsageError: An unknown kind, one named twice, a share outside (0, 1), shares that sum above
            1, a negative seed or fewer than two clickbait items.
    """
    _require_count("plant_seed", seed, 0)
    _require_count("plant_items", items, 2)  # an item of bait never replaces itself
    if plant is None:
        return None
    shares: dict[str, float] = {}
    for kind, share in _named(plant):
        if kind not in KINDS:
            raise UsageError(
                f"plant={plant}: kind '{kind}' is unknown{nearest(kind, KINDS)}; "
                f"there are {', '.join(KINDS)}"
            )
        if kind in shares:
            raise UsageError(f"plant={plant} names {kind} twice: give it one share")
        shares[kind] = _share(plant, kind, share)
    if sum(shares.values()) > 1 + 1e-9:
        raise UsageError(f"plant={plant}: the shares sum to {sum(shares.values()):g}, above 1")
    return Plan(shares, seed, items)


def _named(plant: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(plant, Mapping) and plant:
        yield from ((str(kind), share) for kind, share in plant.items())
        return
    if not isinstance(plant, str):
        raise UsageError(f"plant={plant} is not of the form {_FORM}")
    for part in plant.split(","):
        kind, colon, share = part.partition(":")
        if not colon:
            raise UsageError(f"plant={plant}: '{part.strip()}' is not of the form {_FORM}")
        yield kind.strip(), share


def _share(plant: Any, kind: str, value: Any) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 < share < 1 or isinstance(value, bool):
        raise UsageError(
            f"plant={plant}: the share of {kind} is {str(value).strip()!r}; it must be a number "
            "inside (0, 1)"
        )
    return share


def _require_count(key: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{key}={value} is not a whole number")
    if value < least:
        raise UsageError(f"{key}={value} is out of range: it must be at least {least}")


def _default(value: Any, default: int) -> Any:
    return default if value is None else value
