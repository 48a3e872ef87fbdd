"""When a limit resets, read from what an agent or a server says about it.

Pure: `now` and the zone are arguments. Understands durations ("in 2 hours", "3h22m10s"), times of day ("3pm", "15:00
(Europe/Berlin)"), days ("tomorrow at 9am", "Nov 23rd, 2026 1:35 AM"), ISO and HTTP dates, Unix seconds and
milliseconds, and `retry-after`. A time is only looked for after a word that announces one, so that dates in other
sentences mean nothing. What is found is clamped to between 5 seconds and 8 days, and the clamping is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from backends.base import Limited

#: Seconds. A hold is never shorter or longer than these.
SHORTEST, LONGEST = 5.0, 8 * 86400.0


@dataclass(frozen=True, slots=True)
class Reset:
    at: float
    """Epoch seconds."""
    note: str = ""
    """What was done to it, for people; empty when it is as it was said."""


def clamp(at: float, now: float) -> Reset:
    if at < now + SHORTEST:
        return Reset(now + SHORTEST, "a reset less than 5 s away was moved to 5 s from now")
    if at > now + LONGEST:
        return Reset(now + LONGEST, "a reset more than 8 days away was cut to 8 days")
    return Reset(at)


def zone_of(environment: Mapping[str, str]) -> tzinfo | None:
    """The zone of an agent's TZ; None is this machine's own."""
    return _named_zone(environment.get("TZ", "").lstrip(":"))


def find_reset(said: str, now: float, zone: tzinfo | None = None) -> Reset | None:
    """The first reset time announced in a text, clamped. `zone` is for times that name none; None is local time."""
    for announced in _CUE.finditer(said):
        tail = said[announced.end() : announced.end() + 120]
        for reader in _READERS:
            if (at := reader(tail, announced[0], now, zone)) is not None:
                return clamp(at, now)
    return None


def limit_said(said: str, kind: str, now: float, zone: tzinfo | None = None, around: str = "") -> Limited:
    """A limit as a text tells it; the reset may stand elsewhere in what is `around` it."""
    return limit_until(said, kind, find_reset(said, now, zone) or find_reset(around, now, zone))


def limit_until(evidence: str, kind: str, reset: Reset | None) -> Limited:
    note = f" ({reset.note})" if reset and reset.note else ""
    return Limited(evidence[:2000] + note, reset.at if reset else None, kind=kind)


def from_header(value: str, now: float) -> Reset | None:
    """The value of a `retry-after` header: seconds or an HTTP date."""
    value = value.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return clamp(now + float(value), now)
    at = _read_http_date(value, "", now, None)
    return clamp(at, now) if at is not None else None


# ---- the words before a time ----------------------------------------------------------------------------------------

_CUE = re.compile(
    r"""(?ix)
    \b(?: resets?(?:_|\s|-)?(?:at|in|after|time|on|by)?(?:_seconds|_ms)? | resetting | renews? | refresh(?:es)?
       | retry(?:ing)?(?:[-_\s]?(?:after|in|delay))?(?:_seconds|_ms)? | try\s(?:\w+\s)?again
       | available(?:\sagain)? | come\sback | wait | until
      ) (?=\b|_|[:=])
    | limit\sreached(?=\|)
    """
)
_FILLER = r"""["'\s:=·,|(]*(?:(?:at|on|in|after|for|by|until|about|approximately|~)\s+)*"""
_Reader = Callable[[str, str, float, tzinfo | None], float | None]


# ---- instants -------------------------------------------------------------------------------------------------------

_ISO = re.compile(
    _FILLER + r"(\d{4}-\d\d-\d\d)(?:[T ]\s*(\d\d?:\d\d(?::\d\d)?)(?:[.,]\d+)?)?\s*(Z\b|UTC|GMT|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_UNIX = re.compile(_FILLER + r"(\d{10}|\d{13})(?:\.\d+)?(?![\d:-])")


def _read_iso(tail: str, cue: str, now: float, zone: tzinfo | None) -> float | None:
    if not (found := _ISO.match(tail)):
        return None
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{(found[2] or '00:00').zfill(5)}")
        return moment.replace(tzinfo=_offset(found[3] or "") or zone).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _read_unix(tail: str, cue: str, now: float, zone: tzinfo | None) -> float | None:
    if not (found := _UNIX.match(tail)):
        return None
    return float(found[1]) / (1000 if len(found[1]) == 13 else 1)


def _read_http_date(tail: str, cue: str, now: float, zone: tzinfo | None) -> float | None:
    if not (found := re.match(_FILLER + r"((?:[A-Z][a-z]{2}, )?\d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)", tail)):
        return None
    try:
        return parsedate_to_datetime(found[1]).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


# ---- durations ------------------------------------------------------------------------------------------------------

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_UNIT = r"(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)(?![a-z])"
_SPAN = rf"(\d+(?:\.\d+)?|(?:an?|half\san|one|two|three)(?=\s))\s*{_UNIT}"
_SPANS = re.compile(_FILLER + rf"(?:another\s+)?({_SPAN}(?:[\s,]*(?:and\s+)?{_SPAN})*)", re.IGNORECASE)
_WORDS = {"a": 1.0, "an": 1.0, "half an": 0.5, "one": 1.0, "two": 2.0, "three": 3.0}
_BARE = re.compile(r"""["'\s:=]*(\d{1,9}(?:\.\d+)?)["']?(?![\d:/%.-]|\s*[a-z])""", re.IGNORECASE)


def _read_spans(tail: str, cue: str, now: float, zone: tzinfo | None) -> float | None:
    if not (found := _SPANS.match(tail)):
        return None
    return now + sum(_seconds(amount, unit) for amount, unit in re.findall(_SPAN, found[1], re.IGNORECASE))


def _seconds(amount: str, unit: str) -> float:
    amount, unit = re.sub(r"\s", " ", amount.lower()), unit.lower()
    each = 0.001 if unit == "ms" or unit.startswith("milli") else _UNITS[unit[0]]
    return (_WORDS[amount] if amount in _WORDS else float(amount)) * each


def _read_bare_number(tail: str, cue: str, now: float, zone: tzinfo | None) -> float | None:
    """`retry-after: 120`, `"resets_in_seconds":3600`: a number without a unit, only after a word that implies one."""
    cue = cue.lower()
    if not (cue.endswith(("_seconds", "_ms")) or re.fullmatch(r"retry[-_\s]?after", cue)):
        return None
    if not (found := _BARE.match(tail)):
        return None
    return now + float(found[1]) * (0.001 if cue.endswith("_ms") else 1)


# ---- times of day and days ------------------------------------------------------------------------------------------

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTH = rf"(?:{'|'.join(_MONTHS)})[a-z]*\.?"
_DAY = re.compile(
    rf"(?:(?:on|this|next)\s+)*(?:(?P<word>today|tonight|tomorrow)|(?P<week>{'|'.join(_WEEKDAYS)})[a-z]*\.?(?![\w/])"
    rf"(?:,?\s+(?={_MONTH}\s|\d))?)?"
    rf"(?:(?P<m1>{_MONTH})\s+(?P<d1>\d\d?)(?:st|nd|rd|th)?(?:,?\s+(?P<y1>\d{{4}}))?"
    rf"|(?P<d2>\d\d?)(?:st|nd|rd|th)?\s+(?P<m2>{_MONTH})(?:,?\s+(?P<y2>\d{{4}}))?)?",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?:(?P<h>\d\d?)(?::(?P<m>\d\d))?(?::(?P<s>\d\d))?\s?(?P<half>[ap])\.?m\b\.?"
    r"|(?P<h24>\d\d?):(?P<m24>\d\d)(?::(?P<s24>\d\d))?(?![\d:])|(?P<word>noon|midnight)\b)",
    re.IGNORECASE,
)
_ZONE = re.compile(
    r"\s*\(?((?:UTC|GMT)\s?[+-]\d\d?(?::?\d\d)?|[+-]\d\d:?\d\d|[A-Z][A-Za-z_]+(?:/[A-Za-z_0-9+-]+){1,2}|[A-Z]{1,4}T|UTC|Z)\b\)?"
)
_BETWEEN = re.compile(r"[\s,]*(?:(?:at|around|by)\s+)?", re.IGNORECASE)


def _read_calendar(tail: str, cue: str, now: float, zone: tzinfo | None) -> float | None:
    if (filler := re.match(_FILLER, tail, re.IGNORECASE)) is None:
        return None
    rest = tail[filler.end() :]
    day = _DAY.match(rest)
    after_day = rest[day.end() :] if day and day[0] else rest
    clock = _CLOCK.match(after_day, _end(_BETWEEN, after_day))
    if not (day and day[0]) and not clock:
        return None
    if clock:
        named = _ZONE.match(after_day, clock.end())
        found_zone = _offset(named[1]) if named else None
        zone = found_zone or zone
        if not (day and day[0]):
            behind = after_day[named.end() if named and found_zone else clock.end() :]
            day = _DAY.match(behind, _end(_BETWEEN, behind))
    try:
        return _moment(day if day and day[0] else None, clock, now, zone)
    except (ValueError, OverflowError, OSError):
        return None


def _end(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0


def _moment(day: re.Match[str] | None, clock: re.Match[str] | None, now: float, zone: tzinfo | None) -> float:
    today = datetime.fromtimestamp(now, zone).date()
    hour, minute, second = _time_of_day(clock)

    def on(chosen: date) -> float:
        # Where clocks are put back, an hour is there twice: said after the first, the second is meant.
        first = datetime(chosen.year, chosen.month, chosen.day, hour, minute, second, tzinfo=zone)
        return first.timestamp() if first.timestamp() > now else first.replace(fold=1).timestamp()

    if day is None:
        # "3pm" said during 15:00 means the rest of that minute, not tomorrow: agents cut the seconds off.
        if 0 <= now - on(today) < 60 and not second:
            return on(today) + 60
        return on(today) if on(today) > now else on(today + timedelta(days=1))
    if day["d1"] or day["d2"]:
        return on(_nearest(day, today))
    if day["week"]:
        ahead = (_WEEKDAYS.index(day["week"].lower()) - today.weekday()) % 7
        at = on(today + timedelta(days=ahead))
        return at if at > now else on(today + timedelta(days=7))
    return on(today + timedelta(days=day["word"].lower() == "tomorrow"))


def _time_of_day(clock: re.Match[str] | None) -> tuple[int, int, int]:
    if clock is None or (clock["word"] or "").lower() == "midnight":
        return 0, 0, 0
    if clock["word"]:
        return 12, 0, 0
    if clock["half"]:
        if not 1 <= int(clock["h"]) <= 12:
            raise ValueError("not an hour of a half day")
        hour = int(clock["h"]) % 12 + (12 if clock["half"].lower() == "p" else 0)
        return hour, int(clock["m"] or 0), int(clock["s"] or 0)
    return int(clock["h24"]), int(clock["m24"]), int(clock["s24"] or 0)


def _nearest(day: re.Match[str], today: date) -> date:
    """A month and a day; without a year, the one nearest to today."""
    month = _MONTHS.index((day["m1"] or day["m2"]).lower()[:3]) + 1
    number, year = int(day["d1"] or day["d2"]), day["y1"] or day["y2"]
    if year:
        return date(int(year), month, number)
    candidates = [
        date(today.year + shift, month, number) for shift in (-1, 0, 1) if _exists(today.year + shift, month, number)
    ]
    if not candidates:
        raise ValueError("no such day")
    return min(candidates, key=lambda candidate: abs(candidate - today))


def _exists(year: int, month: int, number: int) -> bool:
    try:
        date(year, month, number)
    except ValueError:
        return False
    return True


# ---- zones ----------------------------------------------------------------------------------------------------------

_ABBREVIATED = {
    "UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3,
    "IST": 5.5, "SGT": 8, "HKT": 8, "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13, "EST": -5,
    "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
_GENERIC = {"ET": "America/New_York", "CT": "America/Chicago", "MT": "America/Denver", "PT": "America/Los_Angeles"}


def _offset(name: str) -> tzinfo | None:
    name = name.strip()
    if name.upper() in _ABBREVIATED:
        return timezone(timedelta(hours=_ABBREVIATED[name.upper()]))
    if found := re.fullmatch(r"(?:UTC|GMT)?\s?([+-])(\d\d?):?(\d\d)?", name, re.IGNORECASE):
        span = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        return timezone(-span if found[1] == "-" else span) if span < timedelta(hours=24) else None
    return _named_zone(_GENERIC.get(name, name))


def _named_zone(name: str) -> tzinfo | None:
    if name in _ABBREVIATED:
        return timezone(timedelta(hours=_ABBREVIATED[name]))
    try:
        return ZoneInfo(name) if "/" in name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


_READERS: tuple[_Reader, ...] = (_read_iso, _read_http_date, _read_unix, _read_spans, _read_calendar, _read_bare_number)
