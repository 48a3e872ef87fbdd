"""The stream of events: numbered when they happen, shown when they are on disk, the newest in memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mozartd.coordinator.journal import RECENT, Event, Journal


def happened(journal: Journal, count: int) -> list[Event]:
    for _ in range(count):
        journal.append(1.0, "t", "job-1", 2, 3, reason="r")
    return journal.take_unwritten()


def ids(events: list[Event] | None) -> list[int] | None:
    return None if events is None else [event.id for event in events]


def test_events_are_numbered_on_from_the_last() -> None:
    assert happened(Journal(41), 1) == [Event(42, 1.0, "t", "job-1", 2, 3, {"reason": "r"})]


def test_a_row_holds_its_data_as_json() -> None:
    (event,) = happened(Journal(0), 1)
    assert event.row() == {
        "id": 1, "at": 1.0, "type": "t", "job": "job-1", "sheet": 2, "attempt": 3, "data": '{"reason":"r"}',
    }  # fmt: skip


def test_what_is_not_written_is_not_shown() -> None:
    journal = Journal(0)
    first = happened(journal, 2)
    journal.publish(first)
    happened(journal, 3)
    assert ids(journal.recent_since(0)) == [1, 2]
    assert journal.recent_since(2) == []


def test_each_publication_is_told_once() -> None:
    journal, told = Journal(0), []
    journal.listeners.add(lambda: told.append(len(journal.recent)))
    journal.publish(happened(journal, 3))
    assert told == [3]
    journal.publish([])
    assert told == [3], "nothing new, nobody woken"


def test_a_listener_may_leave_while_it_is_told() -> None:
    journal = Journal(0)

    def leave() -> None:
        journal.listeners.discard(leave)

    journal.listeners.add(leave)
    journal.publish(happened(journal, 1))
    assert not journal.listeners


# ---- since ------------------------------------------------------------------------------------------------------


def test_an_empty_memory_knows_only_that_nothing_came_after_the_last() -> None:
    journal = Journal(10)
    assert journal.recent_since(10) == []
    assert journal.recent_since(99) == []
    assert journal.recent_since(9) is None
    assert journal.recent_since(0) is None


@pytest.mark.parametrize(
    ("since", "expected"),
    [(9, None), (10, [11, 12, 13]), (11, [12, 13]), (12, [13]), (13, []), (14, []), (2**60, [])],
)
def test_what_memory_reaches_back_to(since: int, expected: list[int] | None) -> None:
    journal = Journal(10)
    journal.publish(happened(journal, 3))
    assert ids(journal.recent_since(since)) == expected


def test_a_new_memory_reaches_back_to_the_first_event() -> None:
    journal = Journal(0)
    journal.publish(happened(journal, 1))
    assert ids(journal.recent_since(0)) == [1]


def test_memory_is_bounded_and_says_when_it_does_not_reach() -> None:
    journal = Journal(0)
    for _ in range(3):
        journal.publish(happened(journal, RECENT // 2))
    last = 3 * (RECENT // 2)
    assert len(journal.recent) == RECENT
    assert journal.recent_since(last - RECENT - 1) is None
    assert ids(journal.recent_since(last - RECENT)) == list(range(last - RECENT + 1, last + 1))


@settings(max_examples=25)
@given(st.lists(st.integers(1, 2 * RECENT + 7), min_size=1, max_size=4))
def test_a_listener_that_looks_each_time_misses_nothing(sizes: list[int]) -> None:
    """Also of one commit larger than the memory: a job of 10,000 sheets that fails at its head is one."""
    journal, seen = Journal(0), [0]

    def look() -> None:
        events = journal.recent_since(seen[-1])
        assert events is not None
        seen.extend(event.id for event in events)

    journal.listeners.add(look)
    for size in sizes:
        journal.publish(happened(journal, size))
    assert seen == list(range(sum(sizes) + 1))
