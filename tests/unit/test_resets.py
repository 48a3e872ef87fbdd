"""When a limit resets: what people and servers write, in words, numbers and zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.resets import LONGEST, SHORTEST, clamp, find_reset, from_header, limit_said, zone_of

#: A Monday.
NOW = datetime(2026, 11, 23, 0, 30, tzinfo=UTC).timestamp()


def said(text: str, now: float = NOW, zone: ZoneInfo | None = None) -> str | None:
    reset = find_reset(text, now, zone or ZoneInfo("UTC"))
    return datetime.fromtimestamp(reset.at, UTC).isoformat(" ", "seconds").removesuffix("+00:00") if reset else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You've hit your session limit · resets 1:18am (UTC)", "2026-11-23 01:18:00"),
        ("resets 3pm", "2026-11-23 15:00:00"),
        ("Resets 3 PM.", "2026-11-23 15:00:00"),
        ("resets at 15:00", "2026-11-23 15:00:00"),
        ("resets at 15:00:30", "2026-11-23 15:00:30"),
        ("reset in 2 hours", "2026-11-23 02:30:00"),
        ("resets in an hour", "2026-11-23 01:30:00"),
        ("available again in half an hour", "2026-11-23 01:00:00"),
        ("try again in 2 days and 3 hours", "2026-11-25 03:30:00"),
        ("Your quota will reset after 3h22m10s.", "2026-11-23 03:52:10"),
        ("Retrying after 12881002ms...", "2026-11-23 04:04:41"),
        ('"retryDelay": "34s"', "2026-11-23 00:30:34"),
        ("wait 30 seconds", "2026-11-23 00:30:30"),
        ("retry-after: 3600", "2026-11-23 01:30:00"),
        ("Retry after 90", "2026-11-23 00:31:30"),
        ('{"resets_in_seconds":3600}', "2026-11-23 01:30:00"),
        ("Retry-After: Wed, 25 Nov 2026 07:28:00 GMT", "2026-11-25 07:28:00"),
        ('"resetsAt":1795396711,', "2026-11-23 01:18:31"),
        ("x-ratelimit-reset: 1795396711000", "2026-11-23 01:18:31"),
        ("Claude AI usage limit reached|1795396711", "2026-11-23 01:18:31"),
        ("resets 2026-11-23T01:35:00Z", "2026-11-23 01:35:00"),
        ("resets at 2026-11-23 03:35+02:00", "2026-11-23 01:35:00"),
        ("resets 2026-11-25", "2026-11-25 00:00:00"),
        ("try again at Nov 23rd, 2026 1:35 AM.", "2026-11-23 01:35:00"),
        ("resets Nov 25 at 3am (Europe/Berlin)", "2026-11-25 02:00:00"),
        ("resets on 25 November at 15:05", "2026-11-25 15:05:00"),
        ("resets 3pm (America/New_York)", "2026-11-23 20:00:00"),
        ("resets 5:30 PM UTC+2", "2026-11-23 15:30:00"),
        ("resets 5:30 PM -05:00", "2026-11-23 22:30:00"),
        ("resets on Monday at 9am PST", "2026-11-23 17:00:00"),
        ("resets Thu, Nov 26, 1am (UTC)", "2026-11-26 01:00:00"),
        ("resets tomorrow at 9am", "2026-11-24 09:00:00"),
        ("resets at 3pm on Tuesday", "2026-11-24 15:00:00"),
        ("resets at noon", "2026-11-23 12:00:00"),
        ("resets at midnight", "2026-11-24 00:00:00"),
        ("resets 12am", "2026-11-24 00:00:00"),
        ("resets 12pm", "2026-11-23 12:00:00"),
        # past: the next day, the next week
        ("resets 0:15", "2026-11-24 00:15:00"),
        ("resets on Monday at 0:15", "2026-11-30 00:15:00"),
        # agents cut the seconds off: within its minute it is the end of that minute
        ("resets 0:30", "2026-11-23 00:31:00"),
    ],
)
def test_times_that_are_told(text: str, expected: str) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Please wait and try again later. To increase your limits, request more",
        "try again later",
        "resets at 25:00",
        "resets 13pm",
        "resets Feb 30",
        "the meeting is at 3pm",
        "on 2026-11-25 everything was fine",
        "3600",
        "",
        "reset the counter",
        "wait for it",
    ],
)
def test_times_that_are_not(text: str) -> None:
    assert said(text) is None


def test_the_agents_own_zone_counts_when_the_text_names_none() -> None:
    assert said("resets 3pm", zone=ZoneInfo("America/New_York")) == "2026-11-23 20:00:00"
    assert zone_of({"TZ": "Europe/Berlin"}) == ZoneInfo("Europe/Berlin")
    assert zone_of({"TZ": ":Europe/Berlin"}) == ZoneInfo("Europe/Berlin")
    assert zone_of({"TZ": "no/such/zone"}) is None
    assert zone_of({}) is None


def test_a_day_of_23_hours() -> None:
    """The clock goes from 2 to 3 in the night: tomorrow at 9 is 23 hours after today at 9."""
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2027, 3, 27, 9, 0, 1, tzinfo=berlin).timestamp()
    reset = find_reset("resets 8am", now, berlin)
    assert reset is not None
    assert reset.at - now == pytest.approx(22 * 3600 - 1)


def test_the_year_that_is_nearest() -> None:
    now = datetime(2026, 12, 31, 23, 0, tzinfo=UTC).timestamp()
    assert said("resets Jan 2 at 1am", now) == "2027-01-02 01:00:00"


def test_clamping_is_said() -> None:
    assert clamp(NOW, NOW).at == NOW + SHORTEST
    assert "5 s" in clamp(NOW, NOW).note
    assert clamp(NOW + 9e6, NOW).at == NOW + LONGEST
    assert "8 days" in clamp(NOW + 9e6, NOW).note
    assert clamp(NOW + 60, NOW).note == ""
    assert "cut to 8 days" in limit_said("quota resets in 20 days", "quota", NOW).evidence


def test_a_reset_beside_the_line_counts() -> None:
    limit = limit_said("429 Too Many Requests", "requests", NOW, None, around="429 Too Many Requests\nretry-after: 60")
    assert limit.until == NOW + 60


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("2", 5),
        ("0.5", 5),
        ("Mon, 23 Nov 2026 01:30:00 GMT", 3600),
        ("soon", None),
        ("", None),
        ("-1", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    reset = from_header(value, NOW)
    assert (reset and reset.at - NOW) == seconds


@given(st.text(max_size=80) | st.from_regex(r"\A(?:resets|retry-after|try again|until) [\w :,()+./-]{0,40}\Z"))
def test_any_text(text: str) -> None:
    """Nothing raises, and what is found is never sooner than 5 s nor later than 8 days."""
    for words in (text, f"resets {text}", f"retry-after: {text}"):
        reset = find_reset(words, NOW)
        assert reset is None or NOW + SHORTEST <= reset.at <= NOW + LONGEST


@given(st.timedeltas(min_value=timedelta(seconds=60), max_value=timedelta(days=7)))
def test_every_way_of_saying_it_is_the_same_moment(ahead: timedelta) -> None:
    at = datetime.fromtimestamp(int(NOW) + int(ahead.total_seconds()), UTC)
    for words in (
        f"resets {at.isoformat()}",
        f"resets_at={int(at.timestamp())}",
        f"retry-after: {int(at.timestamp() - NOW)}",
        f"resets in {int(at.timestamp() - NOW)} seconds",
        f"resets {at:%b %d, %Y %H:%M:%S} UTC",
        f"Retry-After: {at:%a, %d %b %Y %H:%M:%S GMT}",
    ):
        reset = find_reset(words, NOW)
        assert reset is not None
        assert reset.at == at.timestamp(), words
