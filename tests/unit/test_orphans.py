"""Whose a process is: which are an earlier worker's orphans, and which must be spared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mozartd.orphans import strays
from mozartd.processes import Process

SUPERVISOR, WORKER, COORDINATOR = 100, 101, 102


def table(**parents: int) -> dict[int, Process]:
    """`p200=101`: process 200 is a child of 101. The daemon itself is always there, started by a shell."""
    tree = {50: 1, SUPERVISOR: 50, WORKER: SUPERVISOR, COORDINATOR: SUPERVISOR}
    tree |= {int(name[1:]): parent for name, parent in parents.items()}
    return {pid: Process(pid, parent, pid, 0, False) for pid, parent in tree.items()}


def found(processes: dict[int, Process], *marked: int) -> set[int]:
    return {process.pid for process in strays(processes, marked, SUPERVISOR, {WORKER, COORDINATOR})}


def test_what_came_home_is_a_stray_with_all_below_it() -> None:
    assert found(table(p200=SUPERVISOR, p201=200, p202=201)) == {200, 201, 202}


def test_what_a_living_worker_runs_is_spared() -> None:
    assert found(table(p200=WORKER, p201=200), 200, 201) == set()


def test_what_got_away_is_known_by_its_mark() -> None:
    assert found(table(p200=1, p201=1), 200) == {200}


def test_neither_the_daemon_nor_what_started_it_is_a_stray() -> None:
    assert found(table(), 50, SUPERVISOR, WORKER, COORDINATOR) == set()


def test_zombies_cannot_be_killed_again() -> None:
    processes = table(p200=SUPERVISOR)
    processes[200] = Process(200, SUPERVISOR, 200, 0, True)
    assert found(processes) == set()


@given(st.dictionaries(st.integers(2, 40), st.integers(0, 40), max_size=40), st.sets(st.integers(2, 40)))
def test_any_table_even_one_with_loops_is_read_to_its_end(parents: dict[int, int], marked: set[int]) -> None:
    processes = {pid: Process(pid, parent, pid, 0, False) for pid, parent in parents.items()}
    result = {process.pid for process in strays(processes, marked, 2, {3, 4})}
    assert not result & {2, 3, 4}
    assert result <= set(processes)
