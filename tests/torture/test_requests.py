"""The short form of the clients that ask at random: a few blows. The long one: `make torture ARGS=requests`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.torture import requests


@pytest.mark.timeout(120)
def test_what_clients_were_told_is_true_whatever_happens(home: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"again: python -m tests.torture requests --blows 2 --seed {seed}")
    requests.run(home, 2, seed)
