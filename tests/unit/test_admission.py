"""Less starts when the machine is short of something; more again after calm, step by step."""

from __future__ import annotations

import resource
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mozartd.coordinator.admission import HIGHEST, Admission, Bounds, Reading, read, step

CALM = Reading(memory_stall=0.0, memory_used=0.2, load=0.5, processes=0.01)
BOUNDS = Bounds()


def test_a_calm_machine_takes_everything() -> None:
    assert step(0, CALM, BOUNDS) == (0, "")


def test_each_shortage_says_which_it_is() -> None:
    for change, word in (({"memory_stall": 50.0}, "memory"), ({"memory_used": 0.99}, "memory"),
                         ({"load": 99.0}, "load"), ({"processes": 0.95}, "processes")):  # fmt: skip
        level, reason = step(0, replace(CALM, **change), BOUNDS)
        assert level == 1
        assert word in reason


def test_a_level_is_not_left_just_below_what_entered_it() -> None:
    almost = replace(CALM, load=BOUNDS.load * 0.9)
    assert step(0, almost, BOUNDS)[0] == 0
    assert step(2, almost, BOUNDS)[0] == 2
    assert step(2, CALM, BOUNDS)[0] == 1


@given(st.lists(st.floats(0, 100), max_size=30))
def test_a_level_is_always_within_its_bounds_and_calm_ends_it(loads: list[float]) -> None:
    level = 0
    for load in loads:
        level, _ = step(level, replace(CALM, load=load), BOUNDS)
        assert 0 <= level <= HIGHEST
    for _ in range(HIGHEST):
        level, _ = step(level, CALM, BOUNDS)
    assert level == 0


def test_this_machine_can_be_read() -> None:
    found = read()
    assert 0 < found.memory_used < 1
    assert 0 < found.processes < 1


def test_one_sheet_may_always_run() -> None:
    admission = Admission(Bounds(load=1e-9, memory_used=1e-9))
    caps = [(admission.look(float(now)), admission.cap(8)) for now in range(0, 20, 2)]
    assert caps[:5] == [(True, 4), (True, 2), (True, 1), (True, 1), (False, 1)], "each step is told once"
    assert admission.reason
    assert admission.next_time() is not None


def test_a_process_without_descriptors_looks_again_later() -> None:
    admission = Admission(BOUNDS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert not admission.look(1000.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert admission.cap(8) == 8
