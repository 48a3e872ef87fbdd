"""What one image of the supervisor leaves to the next: the same on both sides, or refused with a sentence."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc import PROTOCOL, VERSION
from ipc.errors import MozartError
from mozartd import handover
from mozartd.converge import COORDINATOR, Child, Phase, Slot, Spawn, Stop, Wanted, converge, worker
from mozartd.handover import FORMAT, ChildRecord, Deaths, Descriptors, Handover, decode
from mozartd.held import Held
from mozartd.liveness import Pulse, new_liveness_file, read_mtime

NOW = 1000.0
times = st.floats(0, 1e9, allow_nan=False)
descriptors = st.integers(3, 1 << 20)


records = st.builds(
    ChildRecord,
    role=st.sampled_from(["coordinator", "worker"]),
    number=st.integers(0, 300),
    name=st.text(max_size=40),
    pid=st.integers(2, 1 << 22),
    born=times,
    liveness=descriptors,
    liveness_seconds=times,
    stop_patience=times,
    is_draining=st.booleans(),
    stop_sent=st.none() | times,
    abort_sent=st.none() | times,
    is_killed=st.booleans(),
)
handovers = st.builds(
    Handover,
    boot=st.text(max_size=20),
    started_at=times,
    incarnations=st.integers(0, 1 << 40),
    workers=st.integers(1, 256),
    configured_workers=st.integers(1, 256),
    held=st.builds(Descriptors, **dict.fromkeys(Descriptors.model_fields, descriptors)),
    children=st.lists(records, max_size=5),
    deaths=st.lists(
        st.builds(Deaths, role=st.just("worker"), number=st.integers(0), deaths=st.integers(0)), max_size=3
    ),
)


def document(**fields: Any) -> bytes:
    held = dict(zip(Descriptors.model_fields, range(3, 8), strict=True))
    good = {
        "format": FORMAT, "version": VERSION, "protocol": PROTOCOL, "boot": "b", "started_at": 1.0, "incarnations": 3,
        "workers": 2, "configured_workers": 2, "held": held, "children": [], "deaths": [],
    }  # fmt: skip
    return json.dumps({**good, **fields}).encode()


@given(handovers)
def test_what_is_written_is_read(left: Handover) -> None:
    assert decode(left.model_dump_json().encode()) == left


def test_the_document_is_what_an_image_of_this_format_writes() -> None:
    """Change FORMAT when this fails: the other side may be of another version."""
    assert set(json.loads(document())) == set(Handover.model_fields)
    assert decode(document()).incarnations == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not readable"),
        (b"[]", "not readable"),
        (document(format=FORMAT + 1), f"hands over in format {FORMAT + 1}, this Mozart knows {FORMAT}"),
        (document(protocol=PROTOCOL + 1), f"speak protocol {PROTOCOL + 1}, this Mozart {PROTOCOL}"),
        (document(incarnations=-1), "incarnations in what is handed over is wrong"),
        (document(workers="2"), "workers in what is handed over is wrong"),
        (document(held={"lock": 1}), "held.lock in what is handed over is wrong"),
        (document(more=1), "more in what is handed over is wrong"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(MozartError) as caught:
        decode(data)
    assert caught.value.code == "E404"
    assert said in caught.value.message
    assert "mozartd stop --drain" in caught.value.hint


@given(
    st.binary(max_size=200) | st.dictionaries(st.text(max_size=9), st.integers()).map(lambda d: json.dumps(d).encode())
)
def test_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(MozartError):
        decode(data)


# ---- what lives


@pytest.fixture
def held() -> Iterator[Held]:
    lock = os.memfd_create("lock")
    lifeline, lifeline_write = os.pipe()
    with socket.socket() as clients, socket.socket() as workers:
        yield Held(lock, lifeline, lifeline_write, clients, workers)
    for descriptor in (lock, lifeline, lifeline_write):
        os.close(descriptor)


def test_what_is_held_is_the_same_on_the_other_side(held: Held) -> None:
    record = handover.record_held(held)
    adopted = handover.adopt_held(record)
    try:
        assert handover.record_held(adopted) == record
    finally:
        # The same descriptors: closed once, by the fixture.
        adopted.client_listener.detach()
        adopted.worker_listener.detach()


@pytest.fixture
def liveness() -> Iterator[int]:
    descriptor = new_liveness_file()
    yield descriptor
    os.close(descriptor)


def a_child(slot: Slot, liveness: int, **fields: Any) -> Child:
    return Child(slot, "b-1-1", 4711, NOW, 3, liveness, Pulse(0, NOW), **fields)


def test_an_adopted_child_is_as_before_but_outdated(liveness: int) -> None:
    child = a_child(worker(2), liveness, is_draining=True, stop_sent=NOW + 1, liveness_seconds=5.0, stop_patience=99.0)
    adopted = handover.adopt_child(handover.record_child(child), NOW + 10)
    assert (adopted.generation, adopted.pulse) == (handover.OUTDATED, Pulse(read_mtime(liveness), NOW + 10))
    assert handover.record_child(adopted) == handover.record_child(child)


def test_adopted_children_are_replaced_and_those_that_drain_left_alone(liveness: int) -> None:
    before = [
        a_child(COORDINATOR, liveness),
        a_child(worker(1), liveness),
        a_child(worker(1), liveness, is_draining=True),
    ]
    children = [handover.adopt_child(handover.record_child(child), NOW) for child in before]
    plan = converge(Wanted(Phase.RUNNING, 1), children, {}, NOW)
    assert [type(action).__name__ for action in plan.actions] == ["Stop", "Drain"]
    children[0].stop_sent, children[1].is_draining = NOW, True
    assert converge(Wanted(Phase.RUNNING, 1), children, {}, NOW).actions == [Spawn(worker(1))]
    assert converge(Wanted(Phase.STOPPING, 1), children, {}, NOW).actions == [Stop(children[1]), Stop(children[2])]


def test_it_travels_in_a_descriptor_and_what_it_names_is_closed_at_the_next_exec(held: Held) -> None:
    left = decode(document(held=handover.record_held(held).model_dump()))
    handover.set_inheritable(left.descriptors(), inheritable=True)
    assert handover.take(handover.leave(left)) == left
    assert all(fcntl.fcntl(each, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for each in left.descriptors())


def test_a_large_crew_fits(held: Held, liveness: int) -> None:
    record = handover.record_child(a_child(worker(1), liveness))
    left = decode(document(held=handover.record_held(held).model_dump()))
    left = left.model_copy(update={"children": [record] * 3000})
    assert len(handover.read(handover.leave(left)).children) == 3000
