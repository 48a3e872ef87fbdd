"""`mozart completion`: the script that teaches a shell the words of `mozart` and `mozartd`."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

from cli import output
from cli.arguments import Argument
from cli.options import Json
from cli.verbs import COMPLETION, DAEMON_COMPLETION
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = 'eval "$(mozart completion bash)"'


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def command(
    shell: Annotated[Shell | None, Argument(metavar="[bash|zsh|fish]", help="Default: the shell of $SHELL.")] = None,
    json: Json = False,
) -> int:
    """Print the completion script for a shell."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # as slow as all of typer

    name = str(shell or os.path.basename(os.environ.get("SHELL", "")))
    if name not in list(Shell):
        raise MozartError("usage", f"cannot complete for the shell {name!r}", "name one: bash, zsh or fish", EXIT_USAGE)
    programs = {"mozart": COMPLETION, "mozartd": DAEMON_COMPLETION}
    script = "\n".join(
        get_completion_script(prog_name=program, complete_var=variable, shell=name)
        for program, variable in programs.items()
    )
    if json:
        output.document({"shell": name, "script": script})
    else:
        output.write(f"{script}\n".encode())
    return 0
