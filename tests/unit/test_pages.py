"""How much of a job one answer of `status` shows."""

from __future__ import annotations

import pytest

from mozartd.coordinator.requests.status import PAGE, page_of
from tests.unit.scenes import make_job


@pytest.mark.parametrize(
    ("sheets", "each", "shown"),
    [(0, 0, 0), (1, 0, 1), (PAGE, 1, PAGE), (PAGE + 1, 0, PAGE), (PAGE, 2, PAGE // 2), (10, PAGE, 1), (3, 5 * PAGE, 1)],
)
def test_a_page_is_bounded_in_sheets_and_in_attempts(sheets: int, each: int, shown: int) -> None:
    job = make_job(sheets)
    attempts = {n: [{}] * each for n in job.sheets}
    assert [sheet.n for sheet in page_of(list(job.sheets.values()), attempts)] == list(range(1, shown + 1))
