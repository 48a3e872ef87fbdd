"""What every test may use: the scripted agent, the pages shared between projects.

Hypothesis keeps no example database (nothing is left behind) and has no deadline (the machine may be busy); it tries a few
examples, or `make test ARGS="--hypothesis-profile thorough tests/unit"` many.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import AGENT, ROOT

settings.register_profile("mozart", deadline=None, database=None, print_blob=True, max_examples=40)
settings.register_profile("thorough", settings.get_profile("mozart"), max_examples=2000)
settings.load_profile("mozart")


def pytest_configure() -> None:
    """Signals mean what they mean in a terminal, also where the run is a script's background job, which ignores some.

    A cancelled run (SIGTERM) takes its daemons along, as Ctrl-C does: Hypothesis would try to shrink anything else.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class TookTooLongError(BaseException):
    """Nothing that Hypothesis takes for a failing example, to be shrunk for minutes and called flaky because it fails once."""


def cancel_waiting_tasks(why: str | None) -> bool:
    """Where a loop waits, what a signal's handler raises would be the loop's to report, and it would wait on."""
    loop = asyncio._get_running_loop()
    if loop is None or asyncio.current_task(loop) is not None:
        return False
    for task in asyncio.all_tasks(loop):
        task.cancel(why)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer() -> Generator[None, Any, Any]:
    """A test that takes too long ends there and then, whatever it is in."""
    result = yield
    fail = signal.getsignal(signal.SIGALRM)

    def end(*arguments: Any) -> None:
        assert callable(fail)
        try:
            fail(*arguments)
        except pytest.fail.Exception as error:
            if not cancel_waiting_tasks(error.msg):
                raise TookTooLongError(error.msg) from None

    signal.signal(signal.SIGALRM, end)
    return result


def pytest_collection_finish() -> None:
    """Thousands of tests stay for good: no collection of garbage needs to look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def agent() -> str:
    """The scripted agent, an executable."""
    return str(AGENT)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The pages, recordings and scores kept beside the checkout; a test that needs them is skipped without them."""
    place = ROOT.parent / "shared"
    if not place.is_dir():
        pytest.skip("../shared is not here")
    return place
