"""May this backend be used now? The one place that can say so, for every scope.

Owns a `throttle` for each scope that was limited, obeys the settings about quiet hours and resuming, writes down what must
survive a restart with the turn's next commit, and tells the journal. How long a hold lasts is `retry`'s decision; starting
within the room is `schedule`'s.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from mozartd.coordinator.budget import Budgets
from mozartd.coordinator.journal import Journal
from mozartd.coordinator.scopes import is_private
from mozartd.coordinator.throttle import Throttle
from mozartd.store.store import Row, Write

#: Scopes kept although there is nothing to know of them: their calls count when they meet their first limit.
ENOUGH = 64
#: How the reason goes on of a limit that is kept on after its end.
KEPT_ON = "; over at "


class Limits:
    """`resume_window` = minutes of the local day (first, last) in which a hold may end by itself; `ask` = never by itself."""

    def __init__(
        self,
        journal: Journal,
        rows: Iterable[Row] = (),
        resume_window: tuple[int, int] | None = None,
        ask: bool = False,
        budgets: Budgets | None = None,
    ) -> None:
        self.budgets = budgets or Budgets(())
        self._journal = journal
        self._resume_window = resume_window
        self._ask = ask
        self._scopes: dict[str, Throttle] = {}
        self._dirty: set[str] = set()
        self._enough = ENOUGH
        """With so many scopes it is time to drop those of which there is nothing to know."""
        for row in rows:
            self._recall(row)

    def __repr__(self) -> str:
        return f"<Limits {len(self._scopes)} scopes>"

    # -- asked by plan

    def room(self, scope: str, now: float) -> int | None:
        """How many more attempts may start there; None = any number."""
        if self.holding(scope, now) is not None:
            return 0
        throttle = self._scopes.get(scope)
        return None if throttle is None else throttle.room(now)

    def held_until(self, scope: str) -> float:
        """0 when it is not held."""
        return max((throttle.until for throttle in self._over(scope)), default=0.0)

    def holding(self, scope: str, now: float) -> Throttle | None:
        """What keeps it for longest, itself or what it is a part of; None when nothing does."""
        held = [throttle for throttle in self._over(scope) if throttle.is_held(now)]
        return max(held, key=lambda throttle: throttle.until, default=None)

    def held(self, now: float) -> list[Throttle]:
        return [throttle for throttle in self._scopes.values() if throttle.is_held(now)]

    def _over(self, scope: str) -> Iterator[Throttle]:
        """Of the scope, of its account, of its backend: a person may hold those whole."""
        parts = scope.split("/", 2)
        names = {scope, "/".join(parts[:2]), parts[0]}
        return (self._scopes[name] for name in names if name in self._scopes)

    def of(self, scope: str) -> Throttle:
        throttle = self._scopes.get(scope)
        if throttle is None:
            if len(self._scopes) >= self._enough:
                self._drop_blank()
            throttle = self._scopes[scope] = Throttle(scope)
        return throttle

    def _drop_blank(self) -> None:
        blank = [scope for scope, throttle in self._scopes.items() if throttle.is_blank]
        for scope in blank:
            self.forget(scope)
        self._enough = max(ENOUGH, 2 * len(self._scopes))

    def next_time(self, now: float) -> float | None:
        times = [throttle.next_time(now) for throttle in self._scopes.values()]
        return min((when for when in times if when is not None), default=None)

    # -- what happens

    def start(self, scope: str) -> int:
        """An attempt begins. Its ordinal, for `end`."""
        return self.of(scope).start()

    def end(self, scope: str, ordinal: int, ok: bool, took: float, tokens: int, now: float) -> None:
        """An attempt ended; `ok` when the scope's service did its part."""
        if self.of(scope).end(ordinal, ok, max(0.0, took), tokens):
            self._dirty.add(scope)
            self._journal.append(now, "breaker.closed", scope=scope, reason="its probe was served")

    def hold(
        self, scope: str, until: float, reason: str, evidence: str, now: float, measured: bool = False, giver: str = ""
    ) -> None:
        """A limit, or (without an end) what a person must mend. The newest evidence is the best known. `measured`: until so
        long from now, whatever the clock says then. `giver`: the job of which it is concluded from words; it holds as long as
        there is such a job."""
        throttle = self.of(scope)
        throttle.note_giver(giver, now)
        if until == math.inf:
            self._hold(throttle, until, reason, evidence, now, "person")
            return
        kept, why = self._kept_on(until, now)
        if self._hold(throttle, kept, reason + why, evidence, now, "limit", due=until):
            throttle.measured = measured and kept == until and throttle.due == until

    def sit_out(
        self, scope: str, until: float, reason: str, evidence: str, now: float, measured: bool, attempt: str
    ) -> None:
        """An agent waits for a limit to pass and tries again by itself: nobody else begins meanwhile. Its word replaces nobody
        else's, and ends with the attempt, if it is not over before."""
        throttle = self.of(scope)
        if throttle.is_held(now) and not throttle.sitters:
            return
        sitters = throttle.sitters | {attempt}
        if until > throttle.until:
            self.hold(scope, until, reason, evidence, now, measured, attempt.partition(":")[0])
        throttle.sitters = sitters

    def get_up(self, scope: str, attempt: str, served: bool, limited: bool, now: float) -> None:
        """The attempt has ended: served, which is the end of what it and others waited for; `limited`, which is for its report
        to say; or otherwise."""
        throttle = self._scopes.get(scope)
        if throttle is None or attempt not in throttle.sitters:
            return
        throttle.sitters = set() if served or limited else throttle.sitters - {attempt}
        if not limited and not throttle.sitters and throttle.is_held(now):
            # Nothing was told of the service's windows.
            throttle.limited = False
            self._release(throttle, now, "who waited for it got through" if served else "who waited for it has ended")

    def is_measured(self, scope: str) -> bool:
        """It is held for a while, not until a time of day."""
        return scope in self._scopes and self._scopes[scope].measured

    def _kept_on(self, due: float, now: float) -> tuple[float, str]:
        """Until when a limit holds that is over at `due`, and the words about it when that is later."""
        kept = math.inf if self._ask else next_allowed(due, self._resume_window)
        if kept <= due:
            return due, ""
        return kept, f"{KEPT_ON}{clock(due, now)}, " + ("then wait for a person" if self._ask else "in quiet hours")

    def hold_by_hand(self, scope: str, until: float, reason: str, now: float) -> None:
        """A person's word: neither quiet hours nor a limit change it. Also of a backend, or of an account on it: for
        whatever belongs to it, now and later."""
        self._hold(self.of(scope), until, reason, "", now, "hand")

    def spend(self, scope: str, usd: float | None, tokens: Mapping[str, Any] | None, now: float) -> None:
        """An attempt used that much; a daemon-wide budget that it reached holds all that share it until its day is over."""
        if self.budgets.spend(scope, usd, tokens, now):
            # Those of jobs that have ended are forgotten.
            self.look_at_budgets(
                (one for one in self.budgets.spenders(now) if one == scope or not is_private(one)), now
            )

    def look_at_budgets(self, scopes: Iterable[str], now: float) -> bool:
        """Nobody begins anything on a budget that is spent, whoever spent it, and also when it was set lower since. True
        when that holds more than before."""
        held = [self._hold_if_spent(scope, now) for scope in scopes]
        return any(held)

    def _hold_if_spent(self, scope: str, now: float) -> bool:
        is_new = False
        for budget, end in self.budgets.reached(scope, now):
            what = f"${budget.usd:.2f}" if budget.usd is not None else f"{budget.tokens} tokens"
            reason = f"today's budget of {what} for {budget.scope} is spent"
            is_new |= self._hold(self.of(scope), end, reason, "", now, "budget")
        return is_new

    def fail(self, scope: str, threshold: int, recovery: float, now: float) -> None:
        """The service of this scope failed."""
        throttle = self.of(scope)
        self._set(throttle, throttle.fail(threshold, recovery, now), now)

    def clear(self, scope: str, now: float) -> bool:
        """A person ends a hold. False when there was none."""
        throttle = self._scopes.get(scope)
        if throttle is None or not throttle.is_held(now):
            return False
        throttle.clear(now)
        self.budgets.begin(scope, now)
        self._dirty.add(scope)
        self._journal.append(now, "hold.ended", scope=scope, reason="cleared by hand")
        return True

    def leave(self, is_gone: Callable[[str], bool], now: float) -> None:
        """Jobs that gave a hold by their words alone are over: it is over with the last of them."""
        for throttle in self._scopes.values():
            if not any(map(is_gone, throttle.givers)):
                continue
            throttle.givers = [job for job in throttle.givers if not is_gone(job)]
            self._dirty.add(throttle.scope)
            if not throttle.givers and throttle.kind == "limit" and throttle.is_held(now):
                throttle.clear(now)
                reason = "the last job that spoke of a limit is over"
                self._journal.append(now, "hold.ended", scope=throttle.scope, reason=reason)

    def forget(self, scope: str) -> None:
        """Nobody will ever use it again."""
        if self._scopes.pop(scope, None) is not None:
            self._dirty.add(scope)

    def end_due(self, now: float) -> None:
        """Release the holds whose time is over, or whose budget was raised or taken out of the settings; begin new
        windows."""
        for throttle in self._scopes.values():
            if throttle.until and not throttle.is_held(now):
                self._release(throttle, now, "its time is over")
            elif throttle.kind == "budget" and not self.budgets.reached(throttle.scope, now):
                self._release(throttle, now, "the settings allow more")
            throttle.roll(now)

    def _release(self, throttle: Throttle, now: float, why: str) -> None:
        throttle.release(now)
        self._dirty.add(throttle.scope)
        reason = f"{why}: one probe goes first"
        self._journal.append(now, "hold.ended", scope=throttle.scope, reason=reason, forecast=forecast(throttle))
        if throttle.breaker:
            self._journal.append(now, "breaker.half-open", scope=throttle.scope, reason="one probe goes first")

    def move(self, seconds: float) -> None:
        """The clock was set by so much."""
        for throttle in self._scopes.values():
            if throttle.move(seconds):
                self._dirty.add(throttle.scope)

    def _hold(
        self, throttle: Throttle, until: float, reason: str, evidence: str, now: float, kind: str, due: float = 0.0
    ) -> bool:
        """True when it is news."""
        under = throttle.under
        is_new = throttle.hold(until, reason, evidence, now, kind)
        if due and throttle.kind == "limit":
            throttle.due = due
        if throttle.under != under:
            # No news while a longer limit lies over it; but it must be known when that turns out to be shorter.
            self._dirty.add(throttle.scope)
        self._set(throttle, is_new, now)
        return is_new

    def _set(self, throttle: Throttle, is_new: bool, now: float) -> None:
        if not is_new:
            return
        self._dirty.add(throttle.scope)
        until = throttle.until if throttle.until < math.inf else None
        told: dict[str, Any] = {
            "kind": throttle.kind,
            "until": until,
            "reason": throttle.reason,
            "evidence": throttle.evidence,
        }
        self._journal.append(now, "hold.set", scope=throttle.scope, **told)
        if throttle.breaker == "open" and throttle.kind == "breaker":
            self._journal.append(now, "breaker.open", scope=throttle.scope, until=until, reason=throttle.reason)

    # -- kept over a restart

    def take_changes(self) -> list[Write]:
        writes: list[Write] = self.budgets.take_changes()
        for scope in self._dirty:
            throttle = self._scopes.get(scope)
            if throttle is None:
                writes.append(("drop_hold", {"scope": scope}))
                continue
            row = {
                "scope": scope, "since": throttle.since, "until": throttle.until, "reason": throttle.reason,
                "evidence": throttle.evidence, "facts": orjson.dumps(throttle.facts()).decode(),
            }  # fmt: skip
            writes.append(("put_hold", row))
        self._dirty.clear()
        return writes

    def _recall(self, row: Row) -> None:
        throttle = Throttle(row["scope"], row["since"], row["until"], row["reason"], row["evidence"])
        throttle.recall(orjson.loads(row["facts"]))
        self._scopes[throttle.scope] = throttle
        if throttle.kind == "limit" and 0.0 < throttle.due < math.inf:
            self._keep_on_as_set(throttle)

    def _keep_on_as_set(self, throttle: Throttle) -> None:
        """Quiet hours and the veto are those of the settings now, whatever they were when the limit was hit."""
        kept, why = self._kept_on(throttle.due, throttle.since)
        if kept != throttle.until:
            throttle.until, throttle.reason = kept, throttle.reason.partition(KEPT_ON)[0] + why
            self._dirty.add(throttle.scope)


def forecast(throttle: Throttle) -> dict[str, Any]:
    """What fits between two resets, and how long that is, as far as it was seen."""
    return {"calls": throttle.allowance, "tokens": throttle.tokens, "seconds": throttle.period}


def clock(when: float, now: float) -> str:
    """Local, for people: with the day when it is far away."""
    is_far = abs(when - now) > 12 * 3600
    return time.strftime("%a %H:%M" if is_far else "%H:%M", time.localtime(when))


def window_minutes(hours: str | None) -> tuple[int, int] | None:
    """ "08:00-22:00" as minutes of the day."""
    if hours is None:
        return None
    first, last = (60 * int(moment[:2]) + int(moment[3:]) for moment in hours.split("-"))
    return first, last


def next_allowed(until: float, window: tuple[int, int] | None) -> float:
    """`until`, or the next time after it within the window of local minutes; a window may span midnight."""
    if window is None:
        return until
    first, last = window
    local = time.localtime(until)
    minute = local.tm_hour * 60 + local.tm_min
    if (first <= minute < last) if first <= last else (minute >= first or minute < last):
        return until
    # By the calendar, not by 1,440 minutes: a day on which the clocks change has more or fewer.
    day = local.tm_mday + (minute >= first)
    return time.mktime((local.tm_year, local.tm_mon, day, first // 60, first % 60, 0, 0, 0, -1))
