"""Every string that a person may see, one a line with its place, so that a reader can sample them: `make text`.

Errors and their hints, help, reasons, the daemon's log. A docstring counts only where it is the help of a command. What a
program alone reads is left out: patterns, SQL, names, and the words that backends look for in what agents print.
"""

from __future__ import annotations

import ast
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conventions.tree import PACKAGES, files, name, parsed

#: Two words in a row, the first of them of small letters or at the beginning.
WORDS = re.compile(r"(?:^|[a-z,;:`'\"})\]])\s?[A-Za-z{`'(\[][\w'’{}.`-]*[,;:]? [a-z{`'(\[-]")
MACHINES = re.compile(r"\\[bdsw]|\(\?|\bSELECT\b|\bPRAGMA\b|\bINSERT\b|\bUPDATE\b|\bDELETE FROM\b|^# ")
#: Calls whose arguments a program reads.
UNSEEN = re.compile(
    r"^(?:re\.\w+|Sayings|_cause|super\(\)\.__init__|time\.strftime|\w*\.?(?:execute|executescript|startswith|search|sub))$"
)
COMMANDS = ("cli/commands/", "mozartd/commands.py")


def spoken(node: ast.expr) -> str:
    """As a person reads it, with the names of what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.JoinedStr)
    return "".join(
        f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else spoken(part)
        for part in node.values
    )


def texts(tree: ast.AST, docstrings: bool, inside: str = "") -> Iterator[tuple[int, str]]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.JoinedStr) or (isinstance(child, ast.Constant) and isinstance(child.value, str)):
            if not UNSEEN.match(inside) and (docstrings or not isinstance(tree, ast.Expr)):
                yield child.lineno, spoken(child)
            for part in ast.walk(child):
                if isinstance(part, ast.FormattedValue):
                    yield from texts(part, docstrings, inside)
        else:
            yield from texts(child, docstrings, ast.unparse(child.func) if isinstance(child, ast.Call) else inside)


def seen(path: Path) -> Iterator[tuple[int, str]]:
    is_command = name(path).startswith(COMMANDS)
    module = ast.get_docstring(parsed(path), clean=False)
    for line, text in texts(parsed(path), is_command):
        if text != module and WORDS.search(text) and not MACHINES.search(text):
            yield line, " ".join(text.split())


def main() -> None:
    """All, or as many as asked for, drawn by chance."""
    lines = [f"{name(path)}:{line}: {text}" for path in files(*PACKAGES) for line, text in seen(path)]
    if len(sys.argv) > 1:
        lines = random.sample(lines, min(int(sys.argv[1]), len(lines)))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
