"""Values from outside that begin with `-`: to the program that gets such a word it is an option, whoever wrote it.

`interpreters` says which words of a command line a program would take for one. Pure. `shell` asks before it passes a value,
`checks` to warn.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Refusal(NamedTuple):
    reason: str
    hint: str


#: `- item` and `---` with a line break are none to any program: a list, a front matter.
_LIKE_OPTION = re.compile(r"--?(?![-\s])\S|--\Z")
#: What `--` means nothing to.
_WITHOUT_END = frozenset({"find", "dd"})


def begins_like_option(value: str) -> bool:
    return bool(_LIKE_OPTION.match(value))


def option_refusal(program: str, name: str) -> Refusal:
    return Refusal(f"it begins with `-` and would be an option of `{program}`", option_hint(program, name))


def option_hint(program: str, name: str) -> str:
    if program in _WITHOUT_END:
        return f"put something before it, as in `./{{{name}}}`"
    return f"write `--` before it, as in `{program} -- {{{name}}}`, or `--option={{{name}}}`"
