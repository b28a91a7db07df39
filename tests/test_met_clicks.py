"""What the training clicks tell a strategy before the training, and when they are asked."""

from __future__ import annotations

import pytest
import torch

from recbole_atjt.weighting import met_clicks
from recbole_atjt.weighting.co_occurrence import Clicks
from recbole_atjt.weighting.floor import Floor
from recbole_atjt.weighting.met_clicks import Asked, MetClicks
from tests.random_users import ITEMS, clicks_of, once


def met(unrelated: float = 0.0) -> MetClicks:
    """Return clicks that were met, of whose users a share is unrelated."""
    found, clicks = MetClicks(ITEMS), clicks_of(unrelated)
    found.meet(lambda: clicks)
    return found


@pytest.mark.parametrize(
    ("share", "told", "told_alone"), [(0.1, None, None), (0.2, 0.2, None), (0.25, 0.25, 0.25)]
)
def test_a_model_that_looks_by_itself_is_told_of_much_spread_noise_alone(
    share: float, told: float | None, told_alone: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(met_clicks, "floor_of", lambda *_: Floor(share, 0.9))
    for asked, expected in ((Asked.ANY, told), (Asked.SPREAD, told_alone)):
        shares = met().noise_of_items(asked)
        if expected is None:
            assert shares is None
        else:
            assert shares is not None
            assert shares.tolist() == pytest.approx([expected] * ITEMS)


def test_what_was_met_is_gathered_once_and_again_after_it_was_forgotten() -> None:
    gathered: list[Clicks] = []
    clicks, others = clicks_of(0.3), once(users=9, first=9001)

    def gather() -> Clicks:
        gathered.append(clicks)
        return clicks

    found = MetClicks(ITEMS)
    found.meet(gather)
    first = found.unrelated()
    assert first is not None
    assert first is found.unrelated()
    found.log_ratio(clicks.user, clicks.item, far=False)
    assert len(gathered) == 1
    found.forget()
    again = found.unrelated()
    assert again is not None
    assert again is not first
    assert len(gathered) == 2
    found.meet(lambda: others, others=True)
    ratio = found.log_ratio(others.user, others.item, far=False)
    assert ratio is not None
    assert not bool(ratio.isnan().all()), "others are spoken of, too"


def test_nothing_is_told_where_no_clicks_were_met() -> None:
    nobody, none = MetClicks(ITEMS), torch.zeros(1, dtype=torch.long)
    assert nobody.unrelated() is None
    assert nobody.noise_of_items(Asked.ANY) is None
    assert nobody.log_ratio(none, none, far=False) is None
