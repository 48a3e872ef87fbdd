"""What one image of the supervisor leaves to the next at an upgrade: which descriptors are what, and which children live.

One JSON document in an inherited memory file. It is read by code of another version than wrote it, so it says its format,
and whoever does not know that format refuses it in the trial, before anything is replaced. Encoding and decoding are
pure; `leave`, `read` and `take` touch descriptors. Called by `upgrade` and `main`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ipc import PROTOCOL, VERSION
from ipc.awake import Awake
from ipc.errors import MozartError
from mozartd.backoff import Tally
from mozartd.births import Births, Programs
from mozartd.converge import Child, Slot
from mozartd.held import Held
from mozartd.launch import Launch
from mozartd.liveness import Pulse, read_mtime

#: Of the document. A field that is added, or means something else, makes a new one.
FORMAT = 1

#: Generation of adopted children: older than whatever the next image starts.
OUTDATED = -1

_Descriptor = Field(ge=3)


class Descriptors(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    lock: int = _Descriptor
    lifeline: int = _Descriptor
    lifeline_write: int = _Descriptor
    client_listener: int = _Descriptor
    worker_listener: int = _Descriptor


class ChildRecord(BaseModel):
    """A `converge.Child` but for what is found out again. Times are monotonic: the same clock in every image."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: str
    number: int = Field(ge=0)
    name: str
    pid: int = Field(gt=1)
    born: float
    liveness: int = _Descriptor
    liveness_seconds: float
    stop_patience: float
    is_draining: bool
    stop_sent: float | None
    abort_sent: float | None
    is_killed: bool


class Deaths(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: str
    number: int
    deaths: int


class Handover(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = FORMAT
    version: str = VERSION
    """Of the program that wrote it."""
    protocol: int = PROTOCOL
    """Spoken by the workers that live."""
    boot: str
    started_at: float
    incarnations: int = Field(ge=0)
    workers: int = Field(ge=1)
    """Wanted now; signals may have changed what the settings said."""
    configured_workers: int = Field(ge=1)
    held: Descriptors
    children: list[ChildRecord]
    deaths: list[Deaths]

    def descriptors(self) -> list[int]:
        return [*self.held.model_dump().values(), *(child.liveness for child in self.children)]


def decode(data: bytes) -> Handover:
    """Raises MozartError E404 for what another version wrote in a way that we do not know."""
    hint = "stop the daemon with `mozartd stop --drain` and start it again"
    try:
        document: Any = json.loads(data)
        found = document["format"]
    except (ValueError, TypeError, KeyError):
        raise MozartError(
            "E404", "cannot take over: what the running daemon hands over is not readable", hint
        ) from None
    if found != FORMAT:
        message = f"cannot take over: the running daemon hands over in format {found}, this Mozart knows {FORMAT}"
        raise MozartError("E404", message, hint)
    try:
        handover = Handover.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise MozartError("E404", f"cannot take over: {where} in what is handed over is wrong", hint) from None
    if handover.protocol != PROTOCOL:
        message = f"cannot take over: the running workers speak protocol {handover.protocol}, this Mozart {PROTOCOL}"
        raise MozartError("E404", message, hint)
    return handover


# ---- what lives, as records and back


def record(
    births: Births, workers: int, configured: int, children: Sequence[Child], tallies: Mapping[Slot, Tally]
) -> Handover:
    """`workers`: how many are wanted; `configured`: how many the settings say."""
    deaths = [Deaths(role=slot.role, number=slot.number, deaths=tally.deaths) for slot, tally in tallies.items()]
    return Handover(
        boot=births.boot,
        started_at=births.started_at,
        incarnations=births.incarnations,
        workers=workers,
        configured_workers=configured,
        held=record_held(births.held),
        children=[record_child(child) for child in children],
        deaths=deaths,
    )


def record_held(held: Held) -> Descriptors:
    return Descriptors(
        lock=held.lock,
        lifeline=held.lifeline,
        lifeline_write=held.lifeline_write,
        client_listener=held.client_listener.fileno(),
        worker_listener=held.worker_listener.fileno(),
    )


def adopt_births(left: Handover, launch: Launch, programs: Programs) -> Births:
    return Births(launch, programs, adopt_held(left.held), left.boot, left.started_at, left.incarnations)


def adopt_held(record: Descriptors) -> Held:
    return Held(
        record.lock,
        record.lifeline,
        record.lifeline_write,
        socket.socket(fileno=record.client_listener),
        socket.socket(fileno=record.worker_listener),
    )


def on_real_clock(child: Child, awake: Awake) -> Child:
    """With its times as the next image's clock will have them, which has lost nothing yet."""
    stop_sent, abort_sent = (None if at is None else awake.real(at) for at in (child.stop_sent, child.abort_sent))
    return replace(child, born=awake.real(child.born), stop_sent=stop_sent, abort_sent=abort_sent)


def record_child(child: Child) -> ChildRecord:
    same = {name: getattr(child, name) for name in ChildRecord.model_fields if name not in ("role", "number")}
    return ChildRecord(role=child.slot.role, number=child.slot.number, **same)


def adopt_child(record: ChildRecord, now: float) -> Child:
    same = record.model_dump(exclude={"role", "number"})
    pulse = Pulse(read_mtime(record.liveness), now)
    return Child(slot=Slot(record.role, record.number), generation=OUTDATED, pulse=pulse, **same)


# ---- passing it on


def leave(handover: Handover) -> int:
    """Descriptor of a memory file that holds the document."""
    file = os.memfd_create("mozart-handover", os.MFD_CLOEXEC)
    os.write(file, handover.model_dump_json().encode())
    return file


def read(descriptor: int) -> Handover:
    """What is handed over, without taking it: the descriptors in it may not be here."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        return decode(file.read())


def take(descriptor: int) -> Handover:
    """It is ours now: closed again in whatever we execute."""
    handover = read(descriptor)
    set_inheritable(handover.descriptors(), inheritable=False)
    return handover


def set_inheritable(descriptors: Iterable[int], *, inheritable: bool) -> None:
    for descriptor in descriptors:
        # One that is not open is found out by whoever uses it.
        with suppress(OSError):
            os.set_inheritable(descriptor, inheritable)
