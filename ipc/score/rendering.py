"""Where templates are rendered: on the spot when it is over at once, else in a process that can be given up.

`work` is a function like `prompt.assemble` that takes `at_once` and then raises TooMuchError rather than taking long. Called by
workers (`rendered_on_loop`), and by whoever else renders: the checks, `plan`, the coordinator's threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ipc import forkserver
from ipc.forkserver import Bounds, ForkServer, GivenUpError
from ipc.score.template import TemplateProblem, TooMuchError

T = TypeVar("T")

#: What rendering one prompt may take.
RENDERING = Bounds(seconds=5.0, memory=384 * 1024 * 1024)


def rendered(work: Callable[..., T], *args: Any, bounds: Bounds = RENDERING) -> T:
    """Raises TemplateProblem, also when it was given up."""
    try:
        return work(*args, at_once=True)
    except TooMuchError:
        pass
    try:
        return forkserver.current().call(bounds, work, *args)
    except GivenUpError as error:
        raise _given_up(error, bounds) from None


async def rendered_on_loop(works: ForkServer, work: Callable[..., T], *args: Any) -> T:
    try:
        return work(*args, at_once=True)
    except TooMuchError:
        pass
    try:
        return await works.run(RENDERING, work, *args)
    except GivenUpError as error:
        raise _given_up(error, RENDERING) from None


def _given_up(error: GivenUpError, bounds: Bounds) -> TemplateProblem:
    return TemplateProblem(f"the template {error.in_words(bounds)}", "check its loops and macros")
