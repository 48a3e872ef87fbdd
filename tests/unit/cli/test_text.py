"""Words for people: durations, times, money, tables."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cli import output, text
from cli.commands.cancel import describe_sheets
from cli.commands.logs import since_time
from cli.commands.run import pairs
from cli.commands.status import rows
from cli.commands.wait import exit_code
from ipc.errors import MozartError


def waiting(n: int, until: str | None) -> dict[str, Any]:
    return {"n": n, "state": "pending", "reason": "starts later", "until": until, "attempts": [], "cost_usd": None}


def test_sheets_that_wait_for_the_same_share_a_row() -> None:
    noon, one = "2026-11-23T12:00:00.000Z", "2026-11-23T13:00:00.000Z"
    shown = rows([*(waiting(n, noon) for n in range(1, 1001)), waiting(1001, one), waiting(1002, None)], 0.0)
    assert [row[0] for row in shown] == ["1-1000", "1001", "1002"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0.0s"), (0.04, "0.0s"), (9.96, "10.0s"), (42.4, "42s"), (59.7, "1m00s"), (185, "3m05s"), (3599.6, "1h00m"),
     (7980, "2h13m"), (86400 * 3 + 4 * 3600, "3d04h")],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_until_says_the_clock_and_how_long() -> None:
    now = text.seconds_of("2026-11-23T12:00:00.000Z")
    assert now is not None
    clock = time.strftime("%H:%M:%S", time.localtime(now + 90))
    assert text.until("2026-11-23T12:01:30.000Z", now) == f"until {clock} (in 1m30s)"
    assert "2026-11-2" in text.until("2026-11-25T12:01:30.000Z", now)
    assert "(in" not in text.until("2026-11-23T11:59:00.000Z", now)
    assert text.until(None, now) == ""


@pytest.mark.parametrize(("usd", "shown"), [(None, ""), (0, "$0.00"), (0.0123, "$0.0123"), (12.345, "$12.35")])
def test_unknown_money_is_not_zero(usd: float | None, shown: str) -> None:
    assert text.money(usd) == shown


def test_a_table_leaves_empty_columns_out() -> None:
    rows = [["1", "", "日本"], ["10", "", "x"]]
    assert output.table(("N", "EMPTY", "WORD"), rows) == "N   WORD\n1   日本\n10  x"


@pytest.mark.parametrize(
    ("shown", "columns"), [("abc", 3), ("\x1b[31mabc\x1b[0m", 3), ("日本", 4), ("e\u0301", 1), ("", 0)]
)
def test_width_is_what_a_terminal_shows(shown: str, columns: int) -> None:
    assert output.width_of(shown) == columns


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([], "no sheet"), ([3], "sheet 3"), ([9, 3, 4, 5], "sheets 3-5, 9"), ([1, 2], "sheets 1-2")],
)
def test_sheets_are_named_in_runs(numbers: list[int], words: str) -> None:
    assert describe_sheets(numbers) == words


@pytest.mark.parametrize(
    ("states", "first", "code"),
    [
        (["completed", "completed"], False, 0),
        (["completed", "failed", "cancelled"], False, 1),
        (["completed", "running"], False, 124),
        (["completed", "running"], True, 0),
        (["running"], True, 124),
        (["cancelled"], False, 3),
    ],
)
def test_waiting_for_several_jobs_gives_one_exit_code(states: list[str], first: bool, code: int) -> None:
    assert exit_code(states, first) == code


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("10s", b"2026-11-23T11:59:50.000000000Z"),
        ("1h30m", b"2026-11-23T10:30:00.000000000Z"),
        ("2d", b"2026-11-21T12:00:00.000000000Z"),
        ("90", b"2026-11-23T11:58:30.000000000Z"),
        ("99y", None),
        ("36000d", b"1970-01-01T00:00:00.000000000Z"),
        ("999999999999d", None),
        ("1800-01-01T00:00:00Z", b"1970-01-01T00:00:00.000000000Z"),
        ("2026-11-23T10:00:00Z", b"2026-11-23T10:00:00.000000000Z"),
        ("2026-11-23T10:00:00.25+02:00", b"2026-11-23T08:00:00.250000000Z"),
    ],
)
def test_since_is_a_duration_or_a_time(typed: str, shown: bytes | None) -> None:
    now = text.seconds_of("2026-11-23T12:00:00.000Z")
    assert now is not None
    if shown is not None:
        assert since_time(typed, now) == shown
        return
    with pytest.raises(MozartError, match="cannot understand --since"):
        since_time(typed, now)


def test_pairs_keep_what_follows_the_first_equals_sign() -> None:
    assert pairs("--var", ["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(MozartError, match="--var novalue"):
        pairs("--var", ["novalue"])
