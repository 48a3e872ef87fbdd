"""The short form of the storm: a few kills. The long one: `make torture`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.torture import storm


@pytest.mark.timeout(150)
def test_nothing_is_lost_whatever_is_killed(home: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"again: python -m tests.torture storm --kills 4 --seed {seed}")
    storm.run(home, 4, seed)
