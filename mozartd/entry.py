"""The console scripts `mozart` and `mozartd`, and the way the daemon starts itself and agents of our own.

Owns one thing: that `agents`, `cli`, `ipc`, `workers` and `backends` are ours and not a user's packages of the same name. It
puts this distribution's folder first and whatever PYTHONPATH or the working directory added last, then imports.
Everything here is on the path of every `mozart status`, so it imports `os` and `sys` alone.
"""

from __future__ import annotations

import os
import sys

#: The folder that holds agents, cli, ipc, workers, backends and mozartd.
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def own_folder_first() -> None:
    """Reorder `sys.path`: ours, the interpreter's, then what the user's shell happened to add."""
    strangers = os.environ.get("PYTHONPATH", "").split(os.pathsep) if not sys.flags.ignore_environment else []
    try:
        here = os.getcwd()
    except FileNotFoundError:  # deleted under us; then nothing was added for it either
        here = "/"
    known = {os.path.join(here, part) for part in strangers if part} | {here}
    rest = [part for part in sys.path if part and os.path.join(here, part) != ROOT]
    ours = [part for part in rest if os.path.join(here, part) not in known]
    sys.path[:] = [ROOT, *ours, *(part for part in rest if part not in ours)]


def open_standard_descriptors() -> None:
    """What the caller closed of 0, 1 and 2, before a socket or a database gets that number and what is printed goes into it.

    Writing to stdout goes on failing, so that it is said; for stderr there would be nobody to say it to.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one: those below are open by now.
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
        for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr))
    )


def mozart() -> None:
    open_standard_descriptors()
    own_folder_first()
    from cli.main import main

    main()


def mozartd() -> None:
    open_standard_descriptors()
    own_folder_first()
    from mozartd.main import main

    main()


def agent() -> None:
    open_standard_descriptors()
    own_folder_first()
    from agents.main import main

    main(sys.argv[2:])


if __name__ == "__main__":
    agent() if sys.argv[1:2] == ["agent"] else mozartd()
