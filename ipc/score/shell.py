"""Put a value into a shell command so that it stays one word, wherever in the command it lands.

Scores write `grep -q done {workspace}/a`, `FILE="{workspace}/a"` and `'{workspace}/a'`: quoting that is right in one place
is wrong in the others, so the quotes that are open at the place decide. `rules.fill` calls it.
"""

from __future__ import annotations

import re

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+\Z")
_IN_DOUBLE_QUOTES = re.compile(r'([\\"$`])')


def quote_at(command: str, position: int, value: str) -> str:
    """`value` as it must be written at `position` of `command`."""
    context = open_quote(command, position)
    if context == '"':
        return _IN_DOUBLE_QUOTES.sub(r"\\\1", value)
    if context == "'":
        return value.replace("'", "'\\''")
    return value if _SAFE.match(value) else "'" + value.replace("'", "'\\''") + "'"


def open_quote(command: str, position: int) -> str:
    """The quote that is open at `position`: `'`, `"` or none. Quotes begin anew inside `$( )`; comments have none."""
    stack = [""]
    i = 0
    while i < position:
        character, quote = command[i], stack[-1]
        if quote == "'":
            if character == "'":
                stack.pop()
        elif character == "\\":
            i += 1
        elif character == '"':
            stack.pop() if quote == '"' else stack.append('"')
        elif command.startswith("$(", i):
            stack.append("(")
            i += 1
        elif quote != '"':
            i = _step_unquoted(command, i, stack)
        i += 1
    return stack[-1] if stack[-1] in ("'", '"') else ""


def _step_unquoted(command: str, i: int, stack: list[str]) -> int:
    character = command[i]
    if character == "'":
        stack.append("'")
    elif character == "(":
        stack.append("(")
    elif character == ")" and stack[-1] == "(":
        stack.pop()
    elif character == "#" and (i == 0 or command[i - 1] in " \t\n;&|("):
        end = command.find("\n", i)
        return len(command) if end < 0 else end
    return i
