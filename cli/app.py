"""Everything about the command line but its common case: help, completion, and what is wrong with what was typed.

Builds typer's program from the signatures that `cli.arguments` describes. Imported by `cli.main` only when needed: with what
typer imports it costs more than a `mozart status` altogether.
"""

from __future__ import annotations

import functools
import inspect
import os
import shlex
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cli import exits, helptext, output
from cli.arguments import Argument, Command, Parameter, check, parameters, takes_negative
from cli.verbs import COMPLETION, VERBS, find_verb
from ipc import VERSION
from ipc.errors import EXIT_USAGE, MozartError
from ipc.stdout import written


class Verbs(TyperGroup):
    """The verbs, each imported when it is named. Help and completion name them all."""

    format_epilog = helptext.VerbCommand.format_epilog

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module = find_verb(cmd_name)
        one = typer.Typer(rich_markup_mode=None, add_completion=False)
        epilog = helptext.epilog(module.EXAMPLE, exits.of_verb(cmd_name))
        settings = settings_of(module.command)
        program = for_typer(_checked(module.command))
        one.command(cmd_name, cls=helptext.VerbCommand, epilog=epilog, context_settings=settings)(program)
        return typer.main.get_command(one)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise _unknown_verb(args[0])
        return super().resolve_command(ctx, args)


def _checked(command: Command) -> Command:
    @functools.wraps(command)
    def call(**given: Any) -> int:
        check(command, given)
        return command(**given)

    return call


def settings_of(command: Command) -> dict[str, Any]:
    # -40 is no option that nobody knows where it may be a number.
    return {"ignore_unknown_options": True} if takes_negative(parameters(command)) else {}


def for_typer(command: Command) -> Command:
    """The same function with the signature that typer reads."""

    known = parameters(command)
    defaults = {one.name: one.default for one in known}

    def call(**given: Any) -> int:
        # An option that may be repeated, and was not given at all, comes as an empty sequence.
        return command(**{name: value if value not in ((), []) else defaults[name] for name, value in given.items()})

    changed = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=_annotation(one))
        for one in known
    ]
    call.__signature__ = inspect.Signature(changed)  # type: ignore[attr-defined]
    call.__doc__ = command.__doc__
    return call


def _annotation(one: Parameter) -> Any:
    spec = one.spec
    if isinstance(spec, Argument):
        return Annotated[
            one.annotation, typer.Argument(help=spec.help, metavar=spec.metavar, autocompletion=spec.complete)
        ]
    option = typer.Option(
        *spec.flags,
        help=spec.help,
        metavar=spec.metavar,
        min=spec.min,
        hidden=spec.hidden,
        autocompletion=spec.complete,
    )
    return Annotated[one.annotation, option]


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
    epilog=helptext.epilog("mozart run examples/hello.yaml\nmozart logs -f hello", exits.general()),
)


@app.callback()
def mozart(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run agent command lines from YAML scores, unattended, and watch every line as it is written.

    JOB is an id (hello-12), a unique prefix of one, or a score's name for its newest job.
    """


def run(arguments: Sequence[str]) -> int:
    """The exit code. Raises MozartError for a mistake in the arguments, and what the verb raises."""
    if COMPLETION in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()  # typer knows the shells only when it installs the scripts itself; ours does `mozart completion`
    try:
        return written(lambda: int(app(list(arguments), prog_name="mozart", standalone_mode=False) or 0))
    except typer.Abort:
        raise KeyboardInterrupt from None
    except TyperException as error:
        raise _usage(error, arguments) from None


def _usage(error: TyperException, arguments: Sequence[str]) -> MozartError:
    said = error.format_message().rstrip(".").replace("Value error, ", "")
    if not arguments:
        # Not a mistake that needs a sentence: the message is the help.
        return MozartError("usage", said, "", EXIT_USAGE)
    verb = next((f"{word} " for word in arguments if word in VERBS), "")
    message = f"cannot understand `mozart {' '.join(arguments)}`: {said[:1].lower()}{said[1:]}"
    return MozartError("usage", message, _was_workspace(arguments) or f"see `mozart {verb}--help`", EXIT_USAGE)


def _was_workspace(arguments: Sequence[str]) -> str:
    """Scores of earlier programs say `status NAME -w DIR` in their headers."""
    if "-w" not in arguments[1:-1] or arguments[0] not in ("status", "resume"):
        return ""
    words = ["--workspace" if word == "-w" else word for word in arguments]
    what = "-w is --watch" if arguments[0] == "status" else "there is no -w"
    return f"{what}; a workspace is `mozart {shlex.join(words)}`"
