"""Money and tokens: what an attempt cost, what was spent today, and when that is enough.

Usage is what the backend reports, never guessed from characters; what cannot be priced stays unknown. Pure but for `Budgets`,
which owns the day's spending and writes it with the turn's next commit. A reached daemon-wide budget is a hold until the day
is over; a reached limit of a job or sheet pauses the job, with the finished attempt kept (`settle` does both).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ipc.messages import Finished, Tokens
from mozartd.coordinator.model import Job, Policy, Sheet
from mozartd.store.store import Row, Write

#: `cost_per_1k_*` of a score that does not write them: the table knows better.
UNSAID = (0.003, 0.015)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What the scopes that match may use in a local day, all together."""

    scope: str
    usd: float | None
    tokens: int | None


@cache
def _shipped() -> str:
    """Read once, before the first fork: a coordinator of later finds its own version's."""
    return (files("mozartd") / "prices.yaml").read_text()


def load_prices(text: str | None = None) -> dict[str, Price]:
    """Model pattern → price, from the shipped table or `text` in its form."""
    table = yaml.safe_load(text if text is not None else _shipped())
    return {pattern: Price(**price) for pattern, price in table.items()}


#: Dollars of one attempt, at most: more than anybody paid, whatever an agent claims. Sums stay numbers that can be shown.
MOST_COST = 1e6


def cost_of(report: Finished, policy: Policy, prices: Mapping[str, Price]) -> float | None:
    """What the backend says it cost; else its tokens at the score's rates or the table's; None = unknown."""
    cost = _cost_of(report, policy, prices)
    return None if cost is None or math.isnan(cost) else min(cost, MOST_COST)


def _cost_of(report: Finished, policy: Policy, prices: Mapping[str, Price]) -> float | None:
    tokens, told = report["tokens"], report["cost_usd"]
    # Less than nothing nobody has cost: it would pay for others.
    if told is not None and told >= 0:
        return told
    if tokens is None:
        return None
    rates = (policy.cost_per_1k_input, policy.cost_per_1k_output)
    price = _price(report["model"] or "", prices) if rates in (UNSAID, (None, None)) else None
    if price is None:
        return _at_rates(tokens, *rates)
    kinds = ("input", "output", "cache_read", "cache_write")
    return float(sum(tokens[kind] * getattr(price, kind) for kind in kinds)) / 1e6  # type: ignore[literal-required]


def _at_rates(tokens: Tokens, entering: float | None, leaving: float | None) -> float | None:
    if entering is None or leaving is None:
        return None
    entered = tokens["input"] + tokens["cache_read"] + tokens["cache_write"]
    return (entered * entering + tokens["output"] * leaving) / 1000


def _price(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The longest pattern that matches is the most particular one."""
    matching = [pattern for pattern in prices if fnmatchcase(model, pattern)]
    return prices[max(matching, key=len)] if matching else None


def reached(job: Job, sheet: Sheet, running: float = 0.0, own: float = 0.0) -> str:
    """Why the job must pause for its cost, or ''. Also for a sheet that is done: it is kept, and the next may be as dear.
    `running`: what those that run have cost so far, `own`: that sheet's among them."""
    limit, cost = job.policy.max_cost_job, (job.cost_usd or 0.0) + running
    if limit is not None and cost >= limit:
        return f"the job has cost ${cost:.2f} of max_cost_per_job ${limit:.2f}"
    limit, cost = job.policy.max_cost_sheet, (sheet.cost_usd or 0.0) + own
    if limit is not None and cost >= limit:
        return f"sheet {sheet.n} has cost ${cost:.2f} of max_cost_per_sheet ${limit:.2f}"
    return ""


def left(job: Job, sheet: Sheet, running: float) -> float | None:
    """What an attempt of this sheet may cost until a limit is reached that stops it; None: nothing stops it."""
    if job.policy.on_reached != "stop":
        return None
    limits = (
        (job.policy.max_cost_job, (job.cost_usd or 0.0) + running),
        (job.policy.max_cost_sheet, sheet.cost_usd or 0.0),
    )
    return min((max(0.0, limit - spent) for limit, spent in limits if limit is not None), default=None)


def above(job: Job) -> str:
    """What to say at the end of a job that has cost more than it was to, or ''."""
    limit = job.policy.max_cost_job
    if limit is None or (job.cost_usd or 0.0) <= limit:
        return ""
    return f"it cost ${job.cost_usd:.2f}, above max_cost_per_job ${limit:.2f}"


def nearly_reached(before: float | None, job: Job) -> bool:
    """Whether this attempt took the job over `warn_at_percent` of its limit."""
    limit = job.policy.max_cost_job
    if limit is None or job.cost_usd is None:
        return False
    warn = limit * job.policy.warn_at_percent / 100
    return (before or 0.0) < warn <= job.cost_usd


class Budgets:
    """The daemon-wide ones, and what was spent today by scope."""

    def __init__(self, budgets: Sequence[Budget], rows: Iterable[Row] = ()) -> None:
        self._budgets = budgets
        self._spent: dict[str, dict[str, Any]] = {row["scope"]: dict(row) for row in rows}
        self._dirty: set[str] = set()
        self._let: dict[str, str] = {}
        """Scope → the day on which a person lets it begin."""
        self._over: list[Budget] = []
        self._counted = ""
        """The day on which `_over` are those that are spent; '' when more was spent since."""

    def spend(
        self, scope: str, usd: float | None, tokens: Mapping[str, Any] | None, now: float
    ) -> list[tuple[Budget, float]]:
        """Add an attempt. The budgets that its scope has reached, each with the time at which its day is over."""
        if not usd and not any((tokens or {}).values()):
            return []
        self._let.pop(scope, None)
        self._counted = ""
        row = self._today(scope, now)
        row["usd"] += usd or 0.0
        row["tokens"] += sum(int(count) for count in (tokens or {}).values())
        self._dirty.add(scope)
        return self.reached(scope, now)

    def reached(self, scope: str, now: float) -> list[tuple[Budget, float]]:
        """The budgets of this scope that are spent, each with the time at which its day is over. None when a person lets it
        begin."""
        if not self._budgets:
            return []
        day, end = local_day(now)
        if self._counted != day:
            self._over = [budget for budget in self._budgets if self._is_reached(budget, day)]
            self._counted = day
        return [(budget, end) for budget in self._over if _matches(scope, budget) and self._let.get(scope) != day]

    def spenders(self, now: float) -> list[str]:
        """The scopes of which something was begun today."""
        day, _ = local_day(now)
        return [scope for scope, row in self._spent.items() if row["day"] == day]

    def begin(self, scope: str, now: float) -> None:
        """A person lets it begin, whatever is spent: until it spends something, in this life of the coordinator."""
        self._let[scope] = local_day(now)[0]

    def take_changes(self) -> list[Write]:
        writes: list[Write] = [("put_spending", dict(self._spent[scope])) for scope in self._dirty]
        self._dirty.clear()
        return writes

    def _today(self, scope: str, now: float) -> dict[str, Any]:
        day, _ = local_day(now)
        row = self._spent.get(scope)
        if row is None or row["day"] != day:
            row = self._spent[scope] = {"scope": scope, "day": day, "usd": 0.0, "tokens": 0}
        return row

    def _is_reached(self, budget: Budget, day: str) -> bool:
        rows = [row for scope, row in self._spent.items() if row["day"] == day and _matches(scope, budget)]
        usd, tokens = sum(row["usd"] for row in rows), sum(row["tokens"] for row in rows)
        return (budget.usd is not None and usd >= budget.usd) or (budget.tokens is not None and tokens >= budget.tokens)


def _matches(scope: str, budget: Budget) -> bool:
    # What keeps a job's scope apart from others' limits (`#…`) does not keep it apart from their money.
    return fnmatchcase(scope.partition("#")[0], budget.scope)


def local_day(now: float) -> tuple[str, float]:
    """The local date, and when it is over."""
    local = time.localtime(now)
    return time.strftime("%Y-%m-%d", local), time.mktime((*local[:2], local.tm_mday + 1, 0, 0, 0, 0, 0, -1))
