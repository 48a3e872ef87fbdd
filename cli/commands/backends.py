"""`mozart backends`: which agents this machine has, and whether one answers. Asks no daemon."""

from __future__ import annotations

from typing import Annotated, Any

from cli import completions, output
from cli.arguments import Argument, Option
from cli.options import Json
from ipc.errors import EXIT_USAGE, MozartError

EXAMPLE = "mozart backends list\nmozart backends check claude_cli\nmozart backends check claude_cli --run"


def command(
    words: Annotated[
        list[str] | None,
        Argument(
            "What to do; list by default.",
            metavar="list|check NAME|show NAME",
            complete=completions.words(list=None, check=completions.backends, show=completions.backends),
        ),
    ] = None,
    run: Annotated[bool, Option("--run", help="With check: send a trivial prompt. This may cost money.")] = False,
    json: Json = False,
) -> int:
    """Show which agents are installed, and check one.

    `check` exits 1 when the backend cannot be used; without --run it asks no network, and runs nothing that a profile of this
    directory's (.mozart/backends) says.
    """
    match words or ["list"]:
        case ["list"] if not run:
            return _list(json)
        case ["show", name] if not run:
            return _show(name, json)
        case ["check", name]:
            return _check(name, run, json)
    said = " ".join([*(words or []), *(["--run"] if run else [])])
    raise MozartError(
        "usage", f"cannot understand `backends {said}`", "mozart backends list|check NAME|show NAME", EXIT_USAGE
    )


def _list(json: bool) -> int:
    from cli import machine

    found = [each.as_json() for each in machine.look(machine.names())]
    if json:
        output.document({"backends": found})
        return 0
    rows = [
        [
            each["name"],
            each["kind"],
            each["program"],
            each["version"],
            "yes" if each["available"] else "no",
            "; ".join(filter(None, [_place(each), each["why"]])),
        ]
        for each in found
    ]
    output.say(output.table(["BACKEND", "KIND", "PROGRAM", "VERSION", "AVAILABLE", ""], rows))
    return 0


def _place(found: dict[str, Any]) -> str:
    """Whose profile it is, where that is not what the name alone would say."""
    if found["origin"] == "shipped":
        return ""
    whose = "this directory's profile" if found["origin"] == "project" else "your profile"
    before = {"": "", "user": ", instead of yours", "shipped": ", instead of the shipped one"}[found["shadows"]]
    return f"{whose}{before}"


def _look(name: str, run: bool = False) -> dict[str, Any]:
    from cli import machine
    from ipc.score.problems import suggestion

    if name not in machine.names():
        hint = suggestion(name, machine.names()) or f"known are {', '.join(machine.names())}"
        raise MozartError("unknown_backend", f"cannot find a backend {name!r}", hint)
    return machine.look([name], run_projects=run)[0].as_json()


def _show(name: str, json: bool) -> int:
    found = _look(name)
    if json:
        output.document({"backends": [found]})
    else:
        output.say(_describe(found))
    return 0


def _check(name: str, run: bool, json: bool) -> int:
    found = _look(name, run)
    ok = found["available"]
    if run and ok:
        from cli import machine, trial

        found["run"] = trial.attempt(name, machine.profile(name))
        ok = found["run"]["verdict"] == "ok"
    if json:
        output.document({"backends": [found]})
    else:
        output.say(_describe(found))
    return 0 if ok else 1


def _describe(found: dict[str, Any]) -> str:
    login = {True: "yes", False: "no", None: "unknown"}[found["logged_in"]]
    lines = [
        ("backend", found["name"]),
        ("kind", found["kind"]),
        ("program", found["path"] or found["program"]),
        ("version", found["version"]),
        ("available", "yes" if found["available"] else "no"),
        ("logged in", login),
        ("profile", found["file"] and f"{found['file']} ({_place(found)})"),
        ("note", found["why"]),
    ]
    if ran := found.get("run"):
        lines += [
            ("ran", f"{ran['verdict']} {ran['code']} in {ran['seconds']:.1f} s"),
            ("said", ran["message"] or ran["answer"]),
        ]
        lines += [("hint", ran["hint"])]
    return "\n".join(f"{name:<10} {value}" for name, value in lines if value)
