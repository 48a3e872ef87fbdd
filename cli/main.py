"""The `mozart` program: find the verb, import its module alone, turn every error into one sentence and an exit code.

Called by `mozartd.entry`. Start-up is a feature: a verb that only asks the daemon imports no pydantic, asyncio, yaml,
jinja2 or rich (a test looks at the real process), which is why the verbs are loaded by name and help is plain text.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cli import output
from ipc import VERSION
from ipc.errors import EXIT_INTERRUPTED, EXIT_USAGE, MozartError

VERBS = (
    "run", "status", "list", "logs", "events", "wait", "cancel", "retry", "validate", "plan", "schema", "completion",
)  # fmt: skip

#: What a shell reports for a program that SIGPIPE ended, as ours would have been: `mozart logs JOB | head`.
EXIT_PIPE_CLOSED = 141


class Verbs(TyperGroup):
    """The verbs, each imported when it is named. Help and completion name them all."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"cli.commands.{cmd_name}")
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command(cmd_name, epilog=_example(module.EXAMPLE))(module.command)
        return typer.main.get_command(app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise _unknown_verb(args[0])
        return super().resolve_command(ctx, args)


def _example(text: str) -> str:
    lines = text.strip().splitlines()
    return "\b\n" + "\n".join(["Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def _unknown_verb(word: str) -> MozartError:
    from difflib import get_close_matches

    near = get_close_matches(word, VERBS, 1)
    hint = f"did you mean `mozart {near[0]}`?" if near else "`mozart --help` lists the verbs"
    return MozartError("usage", f"cannot run `mozart {word}`: there is no such verb", hint, EXIT_USAGE)


def _show_version(wanted: bool) -> None:
    if wanted:
        output.say(f"mozart {VERSION}")
        raise typer.Exit


app = typer.Typer(
    name="mozart",
    cls=Verbs,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_example("mozart run examples/hello.yaml\nmozart logs -f hello"),
)


@app.callback()
def mozart(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run agent command lines from YAML scores, unattended, and watch every line as it is written.

    JOB is an id (hello-12), a unique prefix of one, or a score's name for its newest job.

    Exit codes: 0 done, 1 the job failed, 2 usage or invalid score, 3 paused or cancelled, 4 daemon unreachable, 130
    interrupted.
    """


def main() -> NoReturn:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Never raises what a person would have to read as a traceback, bugs excepted."""
    try:
        return int(app(arguments, prog_name="mozart", standalone_mode=False) or 0)
    except MozartError as error:
        return _report(error, arguments)
    except TyperException as error:
        return _report(_usage(error, arguments), arguments)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except output.PipeClosed:
        # What the interpreter still holds for stdout must not fail again while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED


def _usage(error: TyperException, arguments: Sequence[str]) -> MozartError:
    if not arguments:
        output.say(error.format_message())
        return MozartError("usage", "", "", EXIT_USAGE)
    verb = next((word for word in arguments if word in VERBS), "")
    said = error.format_message().rstrip(".")
    message = f"cannot understand `mozart {' '.join(arguments)}`: {said[:1].lower()}{said[1:]}"
    return MozartError("usage", message, f"see `mozart {verb} --help`".replace("  ", " "), EXIT_USAGE)


def _report(error: MozartError, arguments: Sequence[str]) -> int:
    """The sentence and the hint on stderr; with --json also `{"error": …}` as the (last) document on stdout."""
    if error.message:
        output.tell(f"mozart: {error.message}")
    if error.hint:
        output.tell(f"hint: {error.hint}")
    if "--json" in arguments:
        try:
            output.document({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
        except output.PipeClosed:
            return EXIT_PIPE_CLOSED
    return error.exit_code


if __name__ == "__main__":
    main()
