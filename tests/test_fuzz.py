"""No input ends in a traceback, and nothing of it is run: a few of benchmarks/fuzz.py's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.fuzzed import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_odd_input_is_one_line(name: str) -> None:
    use, drawn = TARGETS[name]
    examples = 30 if name in ("settings", "files") else 60

    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*drawn))
    def tried(values: tuple[object, ...]) -> None:
        use(*values)

    tried()
    assert not Path("hacked").exists()
