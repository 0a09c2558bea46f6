"""Ten kills at random moments; `make kills ARGS=500` is the same for as long as one likes."""

from pathlib import Path

import pytest

from tests.kills.lives import live

SEED = 7


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 2], ids=["new record", "old record"])
async def test_nothing_is_lost_or_doubled_or_left_by_kills_at_random_moments(
    tmp_path: Path, number: int
) -> None:
    async for told in live(SEED, number, tmp_path, kills=5):
        last = told
    assert last.attacks.total() == 5
    assert last.states.total() > 0
    assert last.violations == [], "\n".join(last.blows)
