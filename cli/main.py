"""The `mozart` program: find the verb, read its arguments, turn every error into one sentence and an exit code.

Called by `mozartd.entry`. Start-up is a feature: a verb that only asks the daemon imports no typer, pydantic, asyncio, yaml,
jinja2 or rich (a test looks at real processes). So a correct command line is read by `cli.arguments`; only for help and
mistakes is `cli.app` imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cli import output
from cli.arguments import check, check_text, read
from cli.verbs import COMPLETION, VERBS, find_verb
from ipc.errors import EXIT_INTERRUPTED, EXIT_PIPE_CLOSED, MozartError


def main() -> NoReturn:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Never raises what a person would have to read as a traceback, bugs excepted."""
    try:
        return _dispatch(arguments)
    except MozartError as error:
        return _report(error, arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except output.PipeClosed:
        return EXIT_PIPE_CLOSED


def _dispatch(arguments: Sequence[str]) -> int:
    check_text(arguments)
    if arguments and arguments[0] in VERBS and COMPLETION not in os.environ:
        command = find_verb(arguments[0]).command
        given = read(command, arguments[1:])
        if given is not None:
            check(command, given)
            return int(command(**given))
    from cli import app

    return app.run(arguments)


def _report(error: MozartError, arguments: Sequence[str]) -> int:
    """The sentence and the hint on stderr; with --json also `{"error": …}` as the (last) document on stdout."""
    output.complain(error, "mozart: " if arguments else "")
    if "--json" in arguments and not isinstance(error, output.OutputError):
        try:
            output.document({"error": output.error_document(error)})
        except output.PipeClosed:
            return EXIT_PIPE_CLOSED
        except output.OutputError as lost:
            output.tell(f"mozart: {lost.message}")
    return error.exit_code


if __name__ == "__main__":
    main()
