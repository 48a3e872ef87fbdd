"""How `--help` of a verb looks: `Usage: mozart wait [OPTIONS] JOB...`, words instead of types and ranges.

typer parses and completes; this is its text alone. Used by `cli.app`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperOption

#: Columns of the left side, at most; what is longer gets a line of its own.
_LEFT = 30


class VerbCommand(TyperCommand):
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(_usage(one) for one in self.params if isinstance(one, TyperArgument))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments = [(_shown(one), one.help or "") for one in self.params if isinstance(one, TyperArgument)]
        options = [(_flags(one), _help(one)) for one in self.get_params(ctx) if isinstance(one, TyperOption)]
        for title, rows in (("Arguments", arguments), ("Options", [row for row in options if row[0]])):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=_LEFT)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """As it is written: examples and codes are lists, not prose."""
        formatter.write_paragraph()
        formatter.write("".join(f"{line}\n" for line in (self.epilog or "").splitlines()))


def _usage(argument: TyperArgument) -> str:
    """`JOB`, `[JOB]`, `JOB...`: the metavar says it."""
    shown = _shown(argument)
    return shown if argument.required or shown.startswith("[") else f"[{shown}]"


def _shown(argument: TyperArgument) -> str:
    return str(argument.metavar or argument.name.upper())


def _flags(option: TyperOption) -> str:
    """`-f, --follow`, `--tail N`; empty for one that is hidden."""
    if option.hidden:
        return ""
    flags = ", ".join(sorted(option.opts, key=len))
    return flags if option.is_flag else f"{flags} {option.metavar or _choices(option) or option.name.upper()}"


def _choices(option: TyperOption) -> str:
    found = getattr(option.type_descriptor, "choices", None) or ()
    return "|".join(str(getattr(one, "value", one)) for one in found)


def _help(option: TyperOption) -> str:
    bound = "" if option.min is None else f" At least {option.min:g}." if option.min > 0 else ""
    return f"{option.help or ''}{bound}"


def epilog(example: str, codes: str) -> str:
    return "\n".join([*_examples(example), "", codes])


def _examples(text: str) -> Iterator[str]:
    lines = text.strip().splitlines()
    yield "Example:" if len(lines) == 1 else "Examples:"
    yield from (f"  {line}" for line in lines)
