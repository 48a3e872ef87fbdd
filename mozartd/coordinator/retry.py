"""What an attempt's end leads to: the sheet is done, runs again, waits for a limit, or has failed.

One pure function of the report, what the sheet has spent, the job's policy, `now` and a random number. It changes nothing:
`settle` does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ipc.errors import CODES, LIMIT_CODES, MACHINE_CODES, PERSON_CODES, SERVICE_CODES
from ipc.messages import Finished, Limit
from mozartd.coordinator.model import History, Policy

#: A sheet that was running at this many deaths of its worker or coordinator pauses its job.
MAX_INTERRUPTIONS = 5
#: Bounds of a wait for a limit, seconds: nothing is gained below, nothing is believed above.
MIN_WAIT, MAX_WAIT = 5.0, 8 * 86400.0
#: Seconds that an overloaded service is left alone at first.
OVERLOADED_WAIT = 30.0
#: Codes with which an agent says that its service did not let it work. E503 is none: it says how an output looks.
TURNED_AWAY = LIMIT_CODES | PERSON_CODES | (SERVICE_CODES - {"E503"}) | {"E506", "E507"}
#: A sheet that the machine had no room for so many times in a row pauses its job. The seconds between two such: doubled from
#: the first to the longest.
MAX_NO_ROOM = 10
NO_ROOM_WAIT, NO_ROOM_LONGEST = 0.25, 30.0


class Done(NamedTuple):
    """All that was asked for is there."""

    skipped: bool = False
    reason: str = ""


class Again(NamedTuple):
    """Another attempt, at a time."""

    at: float
    mode: str
    reason: str


class Hold(NamedTuple):
    """The backend's scope is limited until a time: no retry is spent, the sheet is ready again then."""

    until: float
    reason: str
    counts: bool = True
    """Towards the waits that are allowed."""
    said: float = 0.0
    """When the limit is over, as it was told."""


class Interrupted(NamedTuple):
    """Not the sheet's fault: it runs again, and nothing is spent. `counts`: towards what may be killing the daemon."""

    counts: bool = True


class NoRoom(NamedTuple):
    """The machine had no room for it: it runs again at a time, and nothing is spent."""

    at: float
    reason: str


class GiveUp(NamedTuple):
    reason: str


class Pause(NamedTuple):
    """The job stops with a reason until somebody looks."""

    reason: str


class NeedsPerson(NamedTuple):
    """Nobody on the scope can go on until a person acts: a login, a key."""

    reason: str


class Cancelled(NamedTuple):
    pass


Decision = Done | Again | Hold | NoRoom | Interrupted | GiveUp | Pause | NeedsPerson | Cancelled


def decide(report: Finished, mode: str, history: History, policy: Policy, now: float, random: float) -> Decision:
    """`mode` is the attempt's, `history` counts its predecessors, not the attempt itself; `random` is uniform in [0, 1)."""
    if report["verdict"] == "skipped":
        return Done(skipped=True, reason=report["message"])
    if report["verdict"] == "cancelled":
        return Cancelled()
    if report["verdict"] == "interrupted":
        return Interrupted(counts=False) if report.get("innocent") else _interrupted(history)
    if report["verdict"] == "no_session" and mode != "normal" and history.session_id:
        return Interrupted(counts=False)
    if is_passed(report):
        return Done(reason=report["message"] if report["exit_code"] else "")
    if report["code"] in PERSON_CODES:
        return NeedsPerson(describe(report))
    if report["code"] in LIMIT_CODES:
        return _hold(report, history, policy, now)
    if is_machines_fault(report):
        return _no_room(report, history, now)
    if (
        report["validations"]
        and not (_hopeless(report) or _holds(report))
        and _is_nearly_done(report, mode, history, policy)
    ):
        return Again(now + policy.completion_delay, "completion", describe(report))
    return _retry(report, history.attempts + (mode != "completion"), policy, now, random)


def is_passed(report: Finished) -> bool:
    """Every applicable rule passed, and work was done for that; with no applicable rule, the verdict is ok."""
    if report["applicable"]:
        return _holds(report) and is_proven(report)
    return report["verdict"] == "ok"


def _holds(report: Finished) -> bool:
    rules = report["validations"]
    return len(rules) == report["applicable"] and all(rule["passed"] for rule in rules)


def is_proven(report: Finished) -> bool:
    """Whether rules that hold say anything about this attempt: what an earlier job left in the workspace satisfies them, too.
    One that ended well is believed, as scores have rules that hold all along; not one that ended with 0 and said that it was
    turned away, as many do. One that failed must have made a rule true."""
    if report["code"] == "E505":
        return False
    ended_well = report["exit_code"] == 0 and report["code"] not in TURNED_AWAY
    if ended_well or report["verdict"] in ("ok", "incomplete"):
        return True
    held = [rule.get("held") for rule in report["validations"]]
    if report["verdict"] == "capped":
        # It worked until it was stopped: a rule of which nobody can tell may well be its doing.
        return not all(held)
    return False in held


def is_machines_fault(report: Finished) -> bool:
    """It failed before or beside the agent, for want of processes, memory, descriptors or disk."""
    never_ran = report["code"] == "E009" and report["exit_code"] is None and report["signal"] is None
    return report["code"] in MACHINE_CODES or never_ran  # A worker of an earlier version has no code for it.


def mode_after(mode: str, history: History) -> str:
    """Of the attempt that follows one that was cut short: it goes on in the agent's session if that is known."""
    if history.session_id:
        return "resume" if mode == "normal" else mode
    return "normal" if mode == "resume" else mode


def describe(report: Finished) -> str:
    """One sentence: the code of what failed and why."""
    if report["code"]:
        unproven = report["applicable"] and _holds(report) and not is_proven(report)
        more = "; its validations pass, but nothing shows that this attempt did it" if unproven else ""
        return f"{report['code']} {report['message']}{more}"
    for rule in report["validations"]:
        if not rule["passed"]:
            return f"{rule['code']} {rule['detail']}"
    return report["message"] or report["verdict"]


def _hopeless(report: Finished) -> bool:
    return bool(report["code"]) and not CODES.get(report["code"], ("", True))[1]


def _interrupted(history: History) -> Decision:
    if history.interruptions + 1 >= MAX_INTERRUPTIONS:
        return Pause(f"a sheet was interrupted {MAX_INTERRUPTIONS} times: it may be what kills the daemon")
    return Interrupted()


def _hold(report: Finished, history: History, policy: Policy, now: float) -> Decision:
    allowed = policy.max_quota_waits if report["code"] == "E104" else policy.max_waits
    # Asked before the time that it was told: it is the same wait still.
    counts = now >= history.said
    if history.waits + counts > allowed:
        return Pause(f"waited {allowed} times for a limit: {report['message']}")
    limit = report["limit"]
    said = _told(limit, history.waits, policy, now) if is_guess(limit) else 0.0
    return Hold(hold_until(limit, history.waits, policy, now), describe(report), counts, said)


def is_guess(limit: Limit | None) -> bool:
    return limit is not None and bool(limit.get("guess"))


def hold_until(limit: Limit | None, waits: int, policy: Policy, now: float) -> float:
    """As it was told; what was only concluded from words is looked at again after the wait for a limit without an end."""
    told = _told(limit, waits, policy, now)
    return min(told, now + max(policy.limit_wait, MIN_WAIT)) if is_guess(limit) else told


def _told(limit: Limit | None, waits: int, policy: Policy, now: float) -> float:
    """When a limited scope may be tried again: what the backend said, else the policy's wait; clamped. A service that is
    overloaded comes back sooner than a limit resets: its wait doubles from OVERLOADED_WAIT with each wait before."""
    if limit and limit["until"] is not None:
        wait = limit["until"] - now
    elif limit and limit["retry_after"] is not None:
        wait = limit["retry_after"]
    elif limit and limit["kind"] == "overloaded":
        wait = min(OVERLOADED_WAIT * 2.0 ** min(waits, 10), policy.limit_wait)
    else:
        wait = policy.limit_wait
    return now + min(max(wait, MIN_WAIT), MAX_WAIT)


def is_measured(limit: Limit | None) -> bool:
    """The wait is a length of time: no time of day was told."""
    return not limit or limit["until"] is None


def _no_room(report: Finished, history: History, now: float) -> Decision:
    if history.no_room + 1 >= MAX_NO_ROOM:
        return Pause(f"the machine had no room {MAX_NO_ROOM} times in a row: {describe(report)}")
    return NoRoom(now + min(NO_ROOM_WAIT * 2.0**history.no_room, NO_ROOM_LONGEST), describe(report))


def _is_nearly_done(report: Finished, mode: str, history: History, policy: Policy) -> bool:
    share = 100.0 * sum(rule["passed"] for rule in report["validations"]) / report["applicable"]
    spent = history.completions + (mode == "completion")
    return share >= policy.completion_threshold and spent < policy.max_completions


def _retry(report: Finished, spent: int, policy: Policy, now: float, random: float) -> Decision:
    if _hopeless(report) or spent >= policy.full_attempts:
        return GiveUp(describe(report))
    return Again(now + delay(spent, policy, random), "normal", describe(report))


def delay(n: int, policy: Policy, random: float) -> float:
    """Seconds before the attempt after the n-th full one: base·exp^(n−1), jittered by ×U(0.5, 1.5), at most max."""
    # Compared as logarithms: 2.0 ** 5000 overflows.
    grown = math.log(policy.base_delay) + (n - 1) * math.log(policy.exponential_base)
    wait = policy.max_delay if grown >= math.log(policy.max_delay) else math.exp(grown)
    return min(wait * (0.5 + random), policy.max_delay) if policy.jitter else wait
