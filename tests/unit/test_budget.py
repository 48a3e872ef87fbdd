"""What an attempt cost, when a limit is reached, and the day's spending."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mozartd.coordinator.budget import Budget, Budgets, cost_of, load_prices, local_day, nearly_reached, reached
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.limits import Limits
from mozartd.coordinator.model import Policy
from mozartd.coordinator.settle import settle
from tests.unit.scenes import make_book, make_job, report

NOW = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
PRICES = load_prices("m*: {input: 1.0, output: 10.0, cache_read: 0.1, cache_write: 2.0}\nmini*: {input: 0.0, output: 1.0, "
                     "cache_read: 0.0, cache_write: 0.0}")  # fmt: skip
TOKENS = {"input": 1_000_000, "output": 100_000, "cache_read": 0, "cache_write": 0}


@pytest.mark.parametrize(
    ("said", "policy", "cost"),
    [
        ({"cost_usd": 0.5, "tokens": TOKENS, "model": "m1"}, {}, 0.5),
        ({"tokens": TOKENS, "model": "m1"}, {}, 2.0),
        ({"tokens": TOKENS, "model": "mini-1"}, {}, 0.1),
        ({"tokens": TOKENS, "model": "unheard-of"}, {}, None),
        ({"tokens": None, "model": "m1"}, {}, None),
        ({"cost_usd": -5.0, "tokens": TOKENS, "model": "m1"}, {}, 2.0),
        ({"cost_usd": -5.0, "tokens": None}, {}, None),
        ({"tokens": TOKENS, "model": "m1"}, {"cost_per_1k_input": 0.003, "cost_per_1k_output": 0.015}, 2.0),
        ({"tokens": TOKENS, "model": "none"}, {"cost_per_1k_input": 0.003, "cost_per_1k_output": 0.015}, 4.5),
        ({"tokens": TOKENS, "model": "m1"}, {"cost_per_1k_input": 0.006, "cost_per_1k_output": 0.015}, 7.5),
    ],
)
def test_a_cost_is_reported_or_priced_or_unknown(
    said: dict[str, Any], policy: dict[str, Any], cost: float | None
) -> None:
    assert cost_of(report(**said), Policy(**policy), PRICES) == (pytest.approx(cost) if cost is not None else None)


def test_the_shipped_prices_load() -> None:
    assert load_prices()["claude-sonnet-*"].output > 0


def test_a_job_that_has_cost_its_limit_is_paused_with_its_finished_sheet_kept() -> None:
    book = make_book(make_job(3, max_cost_job=1.0, warn_at_percent=50.0))
    limits = Limits(book.journal)
    (job,) = book.jobs.values()
    for n, state in ((1, "running"), (2, "paused")):
        attempt = book.start(job, job.sheets[n], "worker", NOW)
        settle(book, limits, attempt, report(attempt=attempt.id, cost_usd=0.6), NOW, 0.5)
        assert job.state == state
    assert job.sheets[2].state == "completed"
    assert "max_cost_per_job" in job.reason
    told = [event.type for event in book.journal.take_unwritten()]
    assert told.count("job.budget") == 1, "warned once, at half of it"


def test_a_sheet_that_costs_too_much_pauses_the_job() -> None:
    job = make_job(2, max_cost_sheet=1.0)
    job.sheets[1].cost_usd = 1.5
    assert "max_cost_per_sheet" in reached(job, job.sheets[1])
    assert not reached(job, job.sheets[2])
    assert not nearly_reached(0.0, job)


def test_a_daily_budget_holds_every_scope_it_names_until_midnight() -> None:
    limits = Limits(Journal(0), budgets=Budgets([Budget("claude_cli/*", 1.0, None)]))
    limits.spend("claude_cli/a/m", 0.6, None, NOW)
    limits.spend("codex_cli/a/m", 9.0, None, NOW)
    assert not limits.held(NOW)
    limits.spend("claude_cli/b/m", 0.6, None, NOW)
    end = local_day(NOW)[1]
    assert {held.scope: held.until for held in limits.held(NOW)} == {"claude_cli/a/m": end, "claude_cli/b/m": end}
    assert limits.room("claude_cli/b/m", NOW) == 0


def test_a_spent_budget_is_nothing_to_begin_on_for_who_comes_later() -> None:
    limits = Limits(Journal(0), budgets=Budgets([Budget("claude_cli/a/*", 1.0, None)]))
    limits.spend("claude_cli/a/m", 2.0, None, NOW)
    later = ["claude_cli/a/new", "claude_cli/a/new#1", "codex_cli/a/m"]
    limits.look_at_budgets(later, NOW)
    assert [limits.room(scope, NOW) for scope in later] == [0, 0, None]
    assert limits.clear("claude_cli/a/new", NOW)
    limits.look_at_budgets(later, NOW)
    assert limits.room("claude_cli/a/new", NOW) is None, "a person lets it begin"
    limits.spend("claude_cli/a/new", 0.1, None, NOW)
    assert limits.room("claude_cli/a/new", NOW) == 0


@pytest.mark.parametrize("raised", [[Budget("claude_cli/*", 5.0, None)], []], ids=["more", "none"])
def test_a_budget_that_was_raised_or_taken_away_holds_nothing_any_more(raised: list[Budget]) -> None:
    first = Limits(Journal(0), budgets=Budgets([Budget("claude_cli/*", 1.0, None)]))
    first.spend("claude_cli/a/m", 2.0, None, NOW)
    first.end_due(NOW)
    assert first.held(NOW)
    writes = first.take_changes()
    holds, spent = ([row for name, row in writes if name == put] for put in ("put_hold", "put_spending"))
    again = Limits(Journal(0), holds, budgets=Budgets(raised, spent))
    again.end_due(NOW)
    assert not again.held(NOW)
    assert again.room("claude_cli/a/m", NOW) == 1, "one probe goes first"


def test_the_days_spending_is_kept_over_a_restart_and_begins_anew_each_day() -> None:
    budget = [Budget("*", None, 100)]
    first = Budgets(budget)
    assert not first.spend("s/a/m", None, {"input": 60, "output": 0}, NOW)
    rows = [row for _, row in first.take_changes()]
    second = Budgets(budget, rows)
    assert second.spend("s/a/m", None, {"input": 40, "output": 0}, NOW)
    assert not Budgets(budget, rows).spend("s/a/m", None, {"input": 40, "output": 0}, NOW + 86400)


def test_a_budget_that_was_lowered_is_nothing_to_go_on_with_for_who_spent_it() -> None:
    first = Limits(Journal(0), budgets=Budgets([Budget("*", 9.0, None)]))
    for scope in ("c/a/m", "c/a/m#1", "c/a/m#over"):
        first.spend(scope, 2.0, None, NOW)
    rows = [row for name, row in first.take_changes() if name == "put_spending"]
    again = Limits(Journal(0), budgets=Budgets([Budget("*", 5.0, None)], rows))
    assert again.look_at_budgets(["c/a/m", "c/a/m#1"], NOW)
    assert not again.look_at_budgets(["c/a/m", "c/a/m#1"], NOW), "held already"
    again.spend("c/a/m", 0.1, None, NOW)
    assert [held.scope for held in again.held(NOW)] == ["c/a/m", "c/a/m#1"], "not that of a job that is over"
    assert again.clear("c/a/m", NOW)
    again.look_at_budgets(["c/a/m"], NOW)
    assert again.room("c/a/m", NOW) is None, "a person lets it begin"
