"""`skip_when`: what an expression sees of its job, and that it sees no more than it asks for."""

from __future__ import annotations

import pytest

from mozartd.coordinator.skips import context, why_skip
from tests.unit.scenes import make_job


@pytest.mark.parametrize(
    ("text", "skips"),
    [
        ("sheets[1].status == 'pending'", True),
        ("sheets.get(9) == null", True),
        ("len(sheets) == 3 and 3 in sheets and max(sheets) == 3", True),
        ("'failed' in str(sheets)", False),
        ("sheets[9].status == 'pending'", False),
        ("sheets == sheets and bool(sheets)", True),
    ],
)
def test_an_expression_sees_the_jobs_sheets(text: str, skips: bool) -> None:
    job = make_job(3, skip_when={2: text})
    assert why_skip(job, job.sheets[2]) == (f"skip_when: {text}" if skips else "")
    assert why_skip(job, job.sheets[1]) == ""


def test_a_start_looks_at_no_sheet_that_nobody_asks_for() -> None:
    job = make_job(3)
    del job.sheets[3].state
    assert context(job)["sheets"][1]["status"] == "pending"
    with pytest.raises(AttributeError):
        context(job)["sheets"][3]
