"""decide(): what each ending of an attempt leads to."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.errors import CODES, LIMIT_CODES, MACHINE_CODES, PERSON_CODES
from mozartd.coordinator.model import History, Policy
from mozartd.coordinator.retry import (
    MAX_INTERRUPTIONS,
    MAX_WAIT,
    MIN_WAIT,
    Again,
    Cancelled,
    Decision,
    Done,
    GiveUp,
    Hold,
    Interrupted,
    NeedsPerson,
    NoRoom,
    Pause,
    decide,
    delay,
    hold_until,
)
from tests.unit.scenes import report, rule

NOW = 1_000_000.0
POLICY = Policy(full_attempts=3, base_delay=10.0, max_delay=100.0, jitter=False)
FAILED = {"verdict": "failed", "exit_code": 1}


def decided(mode: str = "normal", history: History | None = None, policy: Policy = POLICY, **fields: Any) -> Decision:
    return decide(report(**fields), mode, history or History(), policy, NOW, 0.5)


# ---- what is done -----------------------------------------------------------------------------------------------


def test_without_rules_the_verdict_decides() -> None:
    assert decided() == Done()
    assert isinstance(decided(verdict="failed", code="E009"), Again)


def test_with_rules_they_decide_whatever_the_verdict() -> None:
    assert decided(rules=[rule(), rule()]) == Done()
    assert isinstance(decided(rules=[rule(), rule(False)]), Again)
    made = rule(held=False)
    assert decided(verdict="failed", code="E009", exit_code=3, message="exit 3", rules=[made]) == Done(reason="exit 3")


@pytest.mark.parametrize(("held", "proves"), [(True, False), (None, False), (False, True)])
def test_what_failed_is_done_only_by_a_rule_that_did_not_hold_before(held: bool | None, proves: bool) -> None:
    rules = [rule(held=True), rule(held=held)]
    assert isinstance(decided(code="E009", rules=rules, **FAILED), Done if proves else Again)
    assert isinstance(decided(verdict="missing", code="E505", exit_code=127, rules=rules), GiveUp)
    assert isinstance(decided(rules=rules), Done), "an ending of 0 is believed"
    assert isinstance(decided(verdict="capped", code="E509", exit_code=None, rules=rules), GiveUp if held else Done)


def test_a_rule_that_did_not_run_did_not_pass() -> None:
    """A stage with a failure stops the later ones; nothing that was stopped counts as passed."""
    assert isinstance(decided(rules=[rule()], applicable=2), Again)
    assert isinstance(decided(rules=[], applicable=1), Again)


def test_a_limited_attempt_that_did_everything_is_done() -> None:
    assert decided(verdict="rate_limited", code="E101", rules=[rule(held=False)]) == Done()
    assert isinstance(decided(verdict="rate_limited", code="E101", rules=[rule(held=True)]), Hold), "it was turned away"


def test_skipped_cancelled_interrupted() -> None:
    assert decided(verdict="skipped", message="the file is there") == Done(skipped=True, reason="the file is there")
    assert decided(verdict="cancelled", code="E004") == Cancelled()
    assert decided(verdict="interrupted", code="E004") == Interrupted()


# ---- codes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_held_tried_again_or_given_up_as_the_table_says(code: str) -> None:
    decision = decided(code=code, message="because", **FAILED)
    meaning, again = CODES[code]
    assert meaning
    kind = NeedsPerson if code in PERSON_CODES else Hold if code in LIMIT_CODES else Again if again else GiveUp
    kind = NoRoom if code in MACHINE_CODES else kind
    assert isinstance(decision, kind)
    assert decision.reason == f"{code} because"  # type: ignore[union-attr]


def test_a_code_nobody_knows_is_tried_again() -> None:
    assert isinstance(decided(code="E777", **FAILED), Again)


@pytest.mark.parametrize("code", [code for code, (_, again) in CODES.items() if not again])
def test_what_no_attempt_can_help_gets_no_completion_attempt_either(code: str) -> None:
    assert isinstance(decided(code=code, rules=[rule(), rule(False)], **FAILED), GiveUp | NeedsPerson)


def test_the_reason_is_the_code_else_the_first_failed_rule_else_the_verdict() -> None:
    failed = rule(False, detail="no such file: a.txt")
    assert decided(rules=[rule(), failed]) == Again(NOW + 5.0, "completion", "E201 no such file: a.txt")
    assert decided(verdict="failed") == Again(NOW + 10.0, "normal", "failed")
    assert decided(verdict="failed", message="odd") == Again(NOW + 10.0, "normal", "odd")


# ---- budgets ----------------------------------------------------------------------------------------------------


def ending(history: History, policy: Policy, **fields: Any) -> tuple[list[Decision], History]:
    """The decisions from attempt to attempt while each ends so, until one is not Again; spends as `settle` does."""
    decisions: list[Decision] = []
    mode = "normal"
    while True:
        decision = decided(mode, history, policy, **fields)
        decisions.append(decision)
        if mode == "completion":
            history.completions += 1
        else:
            history.attempts += 1
        if not isinstance(decision, Again):
            return decisions, history
        mode = decision.mode


@pytest.mark.parametrize("full", [1, 2, 5])
def test_full_attempts_are_as_many_as_the_policy_says(full: int) -> None:
    decisions, _ = ending(History(), Policy(full_attempts=full, jitter=False), code="E009", **FAILED)
    assert [type(one) for one in decisions] == [Again] * (full - 1) + [GiveUp]


@given(st.integers(1, 6), st.integers(0, 6), st.integers(1, 100), st.integers(0, 4), st.integers(1, 4))
def test_attempts_are_bounded_whatever_the_rules_say(
    full: int, completions: int, threshold: int, passed: int, failed: int
) -> None:
    policy = Policy(full_attempts=full, max_completions=completions, completion_threshold=threshold, jitter=False)
    rules = [rule() for _ in range(passed)] + [rule(False) for _ in range(failed)]
    decisions, history = ending(History(), policy, rules=rules)
    assert isinstance(decisions[-1], GiveUp)
    assert len(decisions) <= full + completions
    assert history.completions <= completions
    assert history.attempts <= full
    if passed and 100 * passed / (passed + failed) >= threshold:
        assert history.completions == completions


@pytest.mark.parametrize(
    ("passed", "total", "threshold", "mode"),
    [
        (1, 2, 50, "completion"),
        (1, 2, 50.1, "normal"),
        (0, 2, 1, "normal"),
        (2, 3, 66.6, "completion"),
        (9, 10, 100, "normal"),
    ],
)
def test_a_completion_attempt_from_the_threshold_on(passed: int, total: int, threshold: float, mode: str) -> None:
    rules = [rule()] * passed + [rule(False)] * (total - passed)
    decision = decided(rules=rules, policy=Policy(full_attempts=3, completion_threshold=threshold, jitter=False))
    assert isinstance(decision, Again)
    assert decision.mode == mode


def test_rules_that_were_stopped_count_against_the_threshold() -> None:
    decision = decided(rules=[rule(), rule(False)], applicable=5)
    assert isinstance(decision, Again)
    assert decision.mode == "normal"


def test_completion_attempts_come_after_their_own_delay() -> None:
    policy = Policy(full_attempts=1, completion_delay=7.0)
    assert decided(rules=[rule(), rule(False)], policy=policy) == Again(NOW + 7.0, "completion", "E201 ")


def test_a_completion_attempt_spends_no_full_one() -> None:
    """After the last completion attempt the full ones go on where they were."""
    policy = Policy(full_attempts=2, max_completions=1, jitter=False)
    decisions, history = ending(History(), policy, rules=[rule(), rule(False)])
    assert [getattr(one, "mode", "") for one in decisions] == ["completion", "normal", ""]
    assert (history.attempts, history.completions) == (2, 1)


def test_it_changes_nothing() -> None:
    history, policy, ended = History(), POLICY, report(code="E009", **FAILED)
    before = deepcopy((history, policy, ended))
    decide(ended, "normal", history, policy, NOW, 0.5)
    assert (history, policy, ended) == before


# ---- back-off ---------------------------------------------------------------------------------------------------

POLICIES = st.builds(
    lambda base, factor, grow, jitter: Policy(
        base_delay=base, max_delay=base * factor, exponential_base=grow, jitter=jitter
    ),
    st.floats(1e-3, 1e6), st.floats(1.0, 1e6), st.floats(1.0, 1e6, exclude_min=True), st.booleans(),
)  # fmt: skip
UNIFORM = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10**9), POLICIES, UNIFORM)
def test_the_delay_is_bounded_for_any_attempt(n: int, policy: Policy, random: float) -> None:
    """Also where base·exp^(n−1) overflows."""
    seconds = delay(n, policy, random)
    least = policy.base_delay * (0.5 if policy.jitter else 1.0)
    assert least * (1 - 1e-9) <= seconds <= policy.max_delay * (1 + 1e-9)


@given(st.integers(1, 40), POLICIES, UNIFORM)
def test_the_delay_is_what_the_format_says(n: int, policy: Policy, random: float) -> None:
    try:
        plain = min(policy.base_delay * policy.exponential_base ** (n - 1), policy.max_delay)
    except OverflowError:
        plain = policy.max_delay
    expected = min(plain * (0.5 + random), policy.max_delay) if policy.jitter else plain
    assert math.isclose(delay(n, policy, random), expected, rel_tol=1e-6)


@given(POLICIES)
def test_the_delay_never_shrinks(policy: Policy) -> None:
    seconds = [delay(n, policy, 0.5) for n in range(1, 30)]
    assert all(b >= a * (1 - 1e-9) for a, b in pairwise(seconds))


def test_the_first_delay_is_the_base() -> None:
    assert decided(code="E009", **FAILED) == Again(NOW + 10.0, "normal", "E009 ")
    assert decided(code="E009", history=History(attempts=1), **FAILED) == Again(NOW + 20.0, "normal", "E009 ")


# ---- limits -----------------------------------------------------------------------------------------------------


def limit(until: float | None = None, retry_after: float | None = None, kind: str = "requests") -> dict[str, Any]:
    return {"until": until, "retry_after": retry_after, "kind": kind}


@pytest.mark.parametrize("code", sorted(LIMIT_CODES))
def test_a_limit_is_a_hold_however_much_was_spent(code: str) -> None:
    spent = History(attempts=99, completions=99)
    decision = decided(code=code, history=spent, limit=limit(retry_after=60.0), verdict="rate_limited")
    assert decision == Hold(NOW + 60.0, f"{code} ")


@pytest.mark.parametrize(
    ("known", "wait"),
    [
        (None, 3600.0),
        (limit(), 3600.0),
        (limit(until=NOW + 100), 100.0),
        (limit(retry_after=100), 100.0),
        (limit(until=NOW + 100, retry_after=200), 100.0),
        (limit(until=NOW - 100), MIN_WAIT),
        (limit(until=0.0), MIN_WAIT),
        (limit(retry_after=0.0), MIN_WAIT),
        (limit(retry_after=-5.0), MIN_WAIT),
        (limit(until=1e300), MAX_WAIT),
        (limit(retry_after=1e300), MAX_WAIT),
    ],
)
def test_how_long_is_what_is_known_else_the_policys_and_never_absurd(known: Any, wait: float) -> None:
    assert hold_until(known, 0, Policy(limit_wait=3600.0), NOW) == NOW + wait


def test_an_overloaded_service_is_left_alone_for_longer_each_time() -> None:
    waits = [hold_until(limit(kind="overloaded"), n, Policy(limit_wait=3600.0), NOW) - NOW for n in range(9)]
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_hold_is_always_between_the_bounds(until: float, retry_after: float) -> None:
    for known in (limit(until=until), limit(retry_after=retry_after)):
        assert MIN_WAIT <= hold_until(known, 0, POLICY, NOW) - NOW <= MAX_WAIT  # type: ignore[arg-type]


def test_waits_are_bounded_then_a_person_must_look() -> None:
    policy = Policy(max_waits=2)
    kinds = [type(decided(code="E101", history=History(waits=waits), policy=policy, **FAILED)) for waits in range(4)]
    assert kinds == [Hold, Hold, Pause, Pause]


# ---- interruptions ----------------------------------------------------------------------------------------------


def test_interruptions_are_bounded_then_a_person_must_look() -> None:
    kinds = [
        type(decided(verdict="interrupted", history=History(interruptions=n))) for n in range(MAX_INTERRUPTIONS + 1)
    ]
    assert kinds == [Interrupted] * (MAX_INTERRUPTIONS - 1) + [Pause, Pause]


@pytest.mark.parametrize("spend", [lambda h: setattr(h, "attempts", 99), lambda h: setattr(h, "waits", 99)])
def test_an_interruption_asks_for_no_other_budget(spend: Callable[[History], None]) -> None:
    history = History()
    spend(history)
    assert decided(verdict="interrupted", history=history) == Interrupted()


# ---- everything -------------------------------------------------------------------------------------------------

REPORTS = st.builds(
    report,
    verdict=st.sampled_from(["ok", "incomplete", "rate_limited", "timeout", "failed", "interrupted", "cancelled", "skipped"]),
    code=st.sampled_from(["", "E777", *CODES]),
    rules=st.lists(st.booleans().map(rule), max_size=4),
    exit_code=st.sampled_from([None, 0, 1]),
    limit=st.sampled_from([None, limit(), limit(until=5.0), limit(retry_after=5.0)]),
)  # fmt: skip
COUNTS = st.integers(0, 6)
HISTORIES = st.builds(History, COUNTS, COUNTS, COUNTS, COUNTS, st.sampled_from(["normal", "completion"]))


@given(REPORTS, HISTORIES, UNIFORM)
def test_every_ending_has_a_decision_and_no_time_of_it_has_passed(ended: Any, history: History, random: float) -> None:
    decision = decide(ended, history.mode, history, POLICY, NOW, random)
    if isinstance(decision, Again):
        assert NOW <= decision.at <= NOW + POLICY.max_delay
        assert decision.reason
    if isinstance(decision, Hold):
        assert decision.until >= NOW + MIN_WAIT
    if isinstance(decision, GiveUp):
        assert decision.reason
