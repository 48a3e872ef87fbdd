"""The one way into a shell: what a command of a score becomes when its `{names}` get their values.

A value from outside (what an agent said, what was typed with `--var`) never becomes shell text: it goes into the environment,
and the placeholder becomes a reference that is right where it stands. Where none can be right (code for another shell,
arithmetic, the name of a program) the command is refused: by `mozart validate` with V218, by a worker with E604. The author's
own values (the workspace, numbers, `prompt.variables`) are pasted, quoted for the place.

`read_script` is the lexer: it follows quotes, substitutions, here-documents, comments and `case` as dash and bash do, and
says of each placeholder in what it stands. What it is not sure of it says, and then nothing from outside is taken. Pure.
`rules`, `checks` and the worker call it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from ipc.errors import MozartError
from ipc.score.interpreters import ASSIGNMENT, SHELLS, UNKNOWN, Reading, program_name, read_words
from ipc.score.options import Refusal, begins_like_option, option_refusal

#: Bytes of a value that is passed in the environment, at most.
MAX_VALUE = 64 * 1024
#: What a value's variable is called: this and the placeholder's name in capitals.
PREFIX = "MOZART_VALUE_"

#: `{name}`, but neither the shell's `${name}` nor Jinja's `{{name}}`.
PLACEHOLDER = re.compile(r"(?<![{$])\{([A-Za-z_]\w*)\}(?!\})")

UNQUOTED, DOUBLE, SINGLE, HERE, LITERAL, COMMENT = "", '"', "'", "<<", "<<'", "#"

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+\Z")
_IN_DOUBLE_QUOTES = re.compile(r'([\\"$`])')
_IN_HERE_DOCUMENT = re.compile(r"([\\$`])")
_WORD_END = frozenset(" \t\n;&|<>()")
_NAME = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
#: `${!x}`, `${x@P}`, `${x[i]}`, `${x:offset}`: bash runs what stands in `x` or in the place of the number.
_EVALUATING = re.compile(
    r"!\w|#?[A-Za-z_]\w*(?:@\w|\[(?![@*0-9]+\])|(?:\[[@*0-9]+\])?:(?![-=?+]|\s*-?\d+(?::\s*-?\d+)?\}))|[0-9@*](?:@\w|:(?![-=?+]|\d+(?::\d+)?\}))"
)


# ---- what is made of a command --------------------------------------------------------------------------------------


class Composed(NamedTuple):
    text: str
    environment: dict[str, str]


def compose(
    command: str, values: Mapping[str, Any], outside: Iterable[str] = (), pattern: re.Pattern[str] = PLACEHOLDER
) -> Composed:
    """The command as a shell is given it; `outside`: names whose values are not the author's.

    Raises MozartError E604 where such a value cannot be passed.
    """
    script, foreign = read_script(command, pattern), frozenset(outside)
    environment: dict[str, str] = {}

    def replacement(spot: Spot) -> str | None:
        if spot.name not in values:
            return None
        value = str(values[spot.name])
        if spot.name not in foreign:
            return _pasted(spot, value)
        why = None if script.is_program(spot) else script.refusal(spot)
        if not why and begins_like_option(value):
            why = script.option(spot)
        if why:
            raise _refused(spot.name, why)
        variable = PREFIX + spot.name.upper()
        environment[variable] = _checked(spot.name, value)
        return _reference(spot, variable)

    return Composed(_replaced(command, script.spots, replacement), environment)


def compose_words(words: Sequence[str], values: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command line of a backend, filled, and what goes into its environment with it. Code for a shell among its words is
    composed; a prompt may be the whole program. Raises MozartError E604."""
    pattern = backend_placeholder(values)
    reading = read_words([pattern.sub(UNKNOWN, word) for word in words])
    argv: list[str] = []
    environment: dict[str, str] = {}
    for i, word in enumerate(words):
        names = set(pattern.findall(word))
        if i in reading.code and i and names & FOREIGN_TO_BACKENDS and not is_whole_program(word, i, reading):
            if i not in reading.shell_code:
                raise _refused((names & FOREIGN_TO_BACKENDS).pop(), _of_code(reading.code[i], "prompt"))
            composed = compose(word, values, FOREIGN_TO_BACKENDS, pattern)
            argv.append(composed.text)
            environment |= composed.environment
        elif i in reading.shell_code and not is_whole_program(word, i, reading):
            argv.append(compose(word, values, (), pattern).text)
        else:
            argv.append(pattern.sub(lambda found: values[found[1]], word))
    return argv, environment


def fill_backend(given: str | Sequence[str], values: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """`backend.command` as it is started: a text by a shell."""
    if not isinstance(given, str):
        return compose_words(given, values)
    composed = compose(given, values, FOREIGN_TO_BACKENDS, backend_placeholder(values))
    return ["/bin/sh", "-c", composed.text], composed.environment


#: A prompt holds what agents said before, and a session's id is an agent's word.
FOREIGN_TO_BACKENDS = frozenset({"prompt", "session"})


def backend_placeholder(names: Iterable[str]) -> re.Pattern[str]:
    """Only these: `${HOME}`, `{print $1}` and JSON stay as they are."""
    return re.compile(rf"(?<!\$)\{{({'|'.join(sorted(names))})\}}")


def is_whole_program(word: str, place: int, reading: Reading) -> bool:
    """Whether the prompt is the program that an interpreter is given."""
    return place == reading.program and word in ("{prompt}", "{prompt_file}")


def _refused(name: str, why: Refusal) -> MozartError:
    return MozartError("E604", f"cannot pass {{{name}}} to a command: {why.reason}", why.hint)


def shown(command: str, values: Mapping[str, Any], outside: Iterable[str] = ()) -> str:
    """The command as people read it: what comes from outside keeps its name."""
    foreign = frozenset(outside)
    own = {name: value for name, value in values.items() if name not in foreign}
    return _replaced(
        command,
        read_script(command).spots,
        lambda spot: _pasted(spot, str(own[spot.name])) if spot.name in own else None,
    )


def _replaced(command: str, spots: Sequence[Spot], replacement: Callable[[Spot], str | None]) -> str:
    parts, end = [], 0
    for spot in spots:
        new = replacement(spot)
        if new is not None:
            parts += [command[end : spot.start], new]
            end = spot.end
    return "".join([*parts, command[end:]])


def _checked(name: str, value: str) -> str:
    if "\0" in value:
        raise MozartError("E604", f"cannot pass {{{name}}} to a command: it holds a NUL byte", _FILE)
    size = len(value.encode("utf-8", "surrogateescape"))
    if size > MAX_VALUE:
        message = f"cannot pass {{{name}}} to a command: it has {size:,} bytes, at most {MAX_VALUE:,} are possible"
        raise MozartError("E604", message, _FILE)
    return value


_FILE = "use a file: let the sheet write it to the workspace, and the command read it there"


def _reference(spot: Spot, variable: str) -> str:
    if spot.quote == SINGLE:
        return f"'\"${{{variable}}}\"'"
    return f'"${{{variable}}}"' if spot.quote == UNQUOTED else f"${{{variable}}}"


def _pasted(spot: Spot, value: str) -> str:
    if spot.quote == DOUBLE:
        return _IN_DOUBLE_QUOTES.sub(r"\\\1", value)
    if spot.quote == SINGLE:
        return value.replace("'", "'\\''")
    if spot.quote == HERE:
        return _IN_HERE_DOCUMENT.sub(r"\\\1", value)
    if spot.quote == COMMENT:
        return value.replace("\n", " ")
    if spot.quote == LITERAL:
        return value
    return value if _SAFE.match(value) else "'" + value.replace("'", "'\\''") + "'"


# ---- what a command says --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Spot:
    """A placeholder, and in what it stands."""

    name: str
    start: int
    end: int
    quote: str
    inside: str
    """What keeps a reference from being right whatever the command is: backticks, arithmetic; empty: nothing."""
    levels: tuple[tuple[Simple, int], ...]
    """The command and the place of its word, of each level of `$( )`, the innermost last. _DATA: it is no word."""
    begins: bool = False
    """Whether it is the first of its word."""


@dataclass(slots=True)
class Simple:
    """One command: its words without their quotes, UNKNOWN where an expansion or a placeholder stands."""

    words: list[str] = field(default_factory=list)
    names: list[frozenset[str]] = field(default_factory=list)
    """What each word expands."""
    taints: list[frozenset[str]] = field(default_factory=list)
    """The same with what is expanded in its substitutions, and the placeholders, in braces."""
    heads: list[frozenset[str]] = field(default_factory=list)
    """The programs of its substitutions."""
    assigned: int = 0
    """So many of the first words are assignments."""
    _reading: Reading | None = None

    @property
    def reading(self) -> Reading:
        if self._reading is None:
            self._reading = read_words(self.words)
        return self._reading


#: The place of what a command reads or writes; of a loop's or function's name.
_DATA, _NAMED = -1, -2


@dataclass(slots=True)
class Script:
    spots: list[Spot]
    commands: list[Simple]
    unsure: str
    """Why it may mean something else to the shell that will run it; empty: it does not."""
    evaluated: frozenset[str] = frozenset()
    """Variables in arithmetic, which some shells evaluate."""
    written: frozenset[str] = frozenset()
    """Files that it writes."""
    functions: frozenset[str] = frozenset()
    defaulted: frozenset[str] = frozenset()
    """Variables that it sets by `${x:=…}`."""

    def refusal(self, spot: Spot) -> Refusal | None:
        """Why a value from outside cannot stand there."""
        if spot.quote == COMMENT:
            return None
        if spot.inside or self.unsure:
            return Refusal(f"it stands {spot.inside or self.unsure}", _HINTS.get(spot.inside, _PLAIN))
        for simple, place in spot.levels:
            if place == _NAMED:
                return Refusal("it would be the name of a variable", _PLAIN)
            if place >= 0 and place in simple.reading.code:
                return _code_refusal(spot, simple, place)
        return self.indirect({f"{{{spot.name}}}"})

    def option(self, spot: Spot) -> Refusal | None:
        """Whether it would be an option of the program that gets it, here or through a variable."""
        if spot.quote == COMMENT:
            return None
        if spot.begins and spot.levels:
            simple, place = spot.levels[-1]
            if place >= 0 and (name := self._takes_options(simple, place)):
                return option_refusal(name, spot.name)
        return self._option_through({f"{{{spot.name}}}"}, spot.name)

    def _takes_options(self, simple: Simple, place: int) -> str:
        name = simple.reading.options.get(place, "")
        return "" if name in self.functions else name

    def _option_through(self, values: Iterable[str], called: str) -> Refusal | None:
        tainted = self._tainted(values)
        for simple in self.commands:
            for place in simple.reading.options:
                is_first = place < len(simple.words) and simple.words[place].startswith(UNKNOWN)
                if is_first and simple.names[place] & tainted and (name := self._takes_options(simple, place)):
                    return option_refusal(name, called)
            for place in simple.reading.shell_code:
                if place < len(simple.words):
                    inner = read_script(simple.words[place])
                    if found := inner._option_through(tainted, called):
                        return found
        return None

    def is_program(self, spot: Spot) -> bool:
        """Whether it is the prompt, as the whole program of an interpreter: `sh -c {prompt}`."""
        return spot.name == "prompt" and self.is_whole(spot)

    def is_whole(self, spot: Spot) -> bool:
        """Whether it is all of an interpreter's program."""
        if spot.inside or self.unsure or len(spot.levels) != 1:
            return False
        simple, place = spot.levels[0]
        return place == simple.reading.program and simple.words[place] == UNKNOWN

    def is_code(self, spot: Spot) -> str:
        """Who reads the text around it as code, other than this shell; empty: nobody."""
        if spot.quote == COMMENT:
            return ""
        for simple, place in spot.levels:
            name = simple.reading.code.get(place, "") if place >= 0 else ""
            if name and place > _first(simple) and place not in simple.reading.maybe:
                return name
        return spot.inside

    def indirect(self, values: Iterable[str] = ()) -> Refusal | None:
        """Values that could be run by another way: from stdin, through a variable, a file. `values`: what holds them."""
        assigned = self._assigned()
        tainted = self._tainted(values)
        if self.evaluated & tainted:
            return Refusal("a variable with it stands in arithmetic", _HINTS[_ARITHMETIC])
        for simple in self.commands:
            if why := self._runs_made(simple, tainted):
                return why
            if simple.reading.stdin:
                return Refusal(f"the command also starts `{simple.reading.stdin}`, which runs what it reads", _SCRIPT)
            if said := {"eval", "alias"} & {*simple.words[simple.assigned : simple.assigned + 2]}:
                name = min(said)
                return Refusal(f"the command uses {name}", f"write the command out instead of `{name}`")
            for place in simple.reading.shell_code:
                if place < len(simple.words):
                    inner = read_script(simple.words[place])
                    if inner.unsure:
                        return Refusal(
                            f"the code of `{simple.reading.code[place]}` has something {inner.unsure}", _SCRIPT
                        )
                    if found := inner.indirect(tainted):
                        return found
            for place in simple.reading.code:
                if place < len(simple.names) and simple.names[place] & assigned:
                    what = simple.reading.code[place] if place > _first(simple) else "the shell"
                    return Refusal(f"the command gives a variable's text to {what} as code", _SCRIPT)
        return None

    def _runs_made(self, simple: Simple, tainted: frozenset[str]) -> Refusal | None:
        """Whether what it runs is printed by a command, or stands in a file that the script writes."""
        reading = simple.reading
        for place in {simple.assigned, reading.program, *reading.shell_code}:
            if place is None or place >= len(simple.words) or place not in reading.code:
                continue
            if simple.heads[place] - _FINDING or simple.taints[place] & tainted:
                return Refusal("the command runs what another one prints", _SCRIPT)
        if {"declare", "typeset", "local"} & {*simple.words[:1]} and any(
            _ATTRIBUTES.match(word) for word in simple.words
        ):
            return Refusal("the command declares a variable that is evaluated", _HINTS[_ARITHMETIC])
        teed = (word for each in self.commands if "tee" in each.words for word in each.words)
        files = {name for word in (*self.written, *teed) if (name := os.path.basename(word))} - {"tee"}
        for place in reading.code:
            if place < len(simple.words) and os.path.basename(simple.words[place]) in files:
                return Refusal("the command runs a file that it writes", _SCRIPT)
        return None

    def _tainted(self, values: Iterable[str]) -> frozenset[str]:
        """Variables that hold one of `values`, as far as the script says; parameters and what is read may."""
        found = {*"0123456789@*", *values, *self.defaulted}
        given: list[tuple[str, frozenset[str]]] = []
        for simple in self.commands:
            words = simple.words
            for word, taints in zip(words, simple.taints, strict=True):
                if match := ASSIGNMENT.match(word):
                    given.append((match[1], taints))
            first = words[simple.assigned] if len(words) > simple.assigned else ""
            if first in ("for", "select"):
                given.append((words[1], frozenset().union(*simple.taints)))
            elif first in _SETTING:
                found |= set(words)
        while new := {name for name, taints in given if name not in found and taints & found}:
            found |= new
        return frozenset(found)

    def _assigned(self) -> frozenset[str]:
        """Variables that may hold such a value: those that the script sets, and its functions' and its own parameters."""
        found = {*"0123456789@*", *self.defaulted}
        for simple in self.commands:
            found |= {match[1] for word in simple.words if (match := ASSIGNMENT.match(word))}
            if set(simple.words[simple.assigned : simple.assigned + 1]) & _SETTING:
                found |= set(simple.words)
        return frozenset(found)


#: What they print is a place or a program of the machine.
_FINDING = frozenset({"which", "command", "dirname", "basename", "pwd", "realpath", "readlink", "git", "uname", "type"})
_NUMERIC = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})
_ATTRIBUTES = re.compile(r"-[A-Za-z]*[in]")
_SETTING = frozenset({"read", "for", "select", "mapfile", "readarray", "getopts", "printf"})


def _first(simple: Simple) -> int:
    return simple.assigned


def _code_refusal(spot: Spot, simple: Simple, place: int) -> Refusal:
    name = simple.reading.code[place]
    if place == _first(simple):
        return Refusal(
            "it would be the name of a program", f"write the program's name, and {{{spot.name}}} as an argument"
        )
    return _of_code(name, spot.name)


def _of_code(name: str, value: str) -> Refusal:
    known = program_name(name)
    if known in SHELLS:
        return Refusal(f"it would become code of `{name}`", f"write `{name} -c '… \"$1\" …' {name} {{{value}}}`")
    if known in ("python", "pypy"):
        return Refusal(f"it would become code of `{name}`", f"write `{name} -c '… sys.argv[1] …' {{{value}}}`")
    if known in ("perl", "ruby", "node", "php"):
        return Refusal(f"it would become code of `{name}`", f"give it as an argument: `{name} -e '…' {{{value}}}`")
    if known == "awk":
        return Refusal("it would become code of `awk`", f"write `X={{{value}}} awk '… ENVIRON[\"X\"] …'`")
    return Refusal(f"it would be run by `{name}`", f"put what needs it into a script, and write `./script {{{value}}}`")


_PLAIN = "write it outside of that, as an argument in double quotes"
_SCRIPT = "put the commands into a script of your own, and pass the value to it as an argument"
_BACKTICKS, _ARITHMETIC, _BRACES = "in backticks", "in arithmetic", "in ${ }"
_QUOTED_HERE, _ESCAPED = "in a here-document whose delimiter is quoted", "behind a backslash"
_HINTS = {
    _BACKTICKS: "write $( ) instead of backticks",
    _ARITHMETIC: "arithmetic runs what it is given; compare it as text",
    _BRACES: "set a variable to it first: `x={…}`, and use that",
    _QUOTED_HERE: "write the delimiter without quotes: <<END",
    _ESCAPED: "remove the backslash",
}


@lru_cache(maxsize=256)
def read_script(text: str, pattern: re.Pattern[str] = PLACEHOLDER) -> Script:
    """Never raises: what cannot be read makes it unsure."""
    placeholders = {match.start(): match for match in pattern.finditer(text)}
    reader = _Reader(text, placeholders)
    reader.read()
    seen = {spot.start for spot in reader.spots}
    missed = [match for start, match in placeholders.items() if start not in seen]
    lost = [
        Spot(match[1], match.start(), match.end(), UNQUOTED, "where the command cannot be read", ()) for match in missed
    ]
    return Script(
        sorted([*reader.spots, *lost], key=lambda spot: spot.start), reader.commands, reader.unsure,
        frozenset(reader.evaluated), frozenset(reader.written), frozenset(reader.functions),
        frozenset(reader.defaulted),
    )  # fmt: skip


# ---- the lexer ------------------------------------------------------------------------------------------------------

_RESERVED = frozenset({"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "{", "}", "!"})
_OPERATORS = (
    ";;&", "&>>", "<<<", "<<-", ";;", ";&", "&&", "||", "|&", "&>", ">>", "<<", "<>", "<&", ">&", ">|", "|", "&", ";", "<", ">",
    "\n",
)  # fmt: skip
_REDIRECTIONS = frozenset({"&>>", "<<<", "<<-", "&>", ">>", "<<", "<>", "<&", ">&", ">|", "<", ">"})
#: Levels of `$( )` in each other.
_DEEPEST = 50


class _TooDeepError(Exception):
    pass


class _Pending(NamedTuple):
    delimiter: str
    quoted: bool
    tabs: bool
    command: Simple


class _Word:
    """A word being read."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.names: set[str] = set()
        self.taints: set[str] = set()
        self.heads: set[str] = set()
        self.quoted = False


class _Reader:
    def __init__(self, text: str, placeholders: Mapping[int, re.Match[str]]) -> None:
        self.text = text
        self.at = 0
        self.end = len(text)
        self.spots: list[Spot] = []
        self.commands: list[Simple] = []
        self.unsure = ""
        self.evaluated: set[str] = set()
        self.written: set[str] = set()
        self.functions: set[str] = set()
        self.defaulted: set[str] = set()
        self._open: list[_Word] = []
        self._known = placeholders
        self._levels: list[tuple[Simple, int]] = []
        self._inside: list[str] = []
        self._pending: list[_Pending] = []
        self._depth = 0

    def read(self) -> None:
        try:
            while self.at < self.end:
                self._list("")
                if self.at < self.end:
                    self._doubt("behind a bracket that closes nothing")
                    self.at += 1
        except _TooDeepError:
            self._doubt("in too many brackets")
        if self._pending:
            self._doubt("beside a here-document without its end")

    def _doubt(self, why: str) -> None:
        self.unsure = self.unsure or why

    # -- commands

    def _list(self, closing: str) -> str:
        """Commands up to `closing` (`)`), or `;;` and `esac` (closing "esac"); what ended it, or nothing at the end."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooDeepError
        try:
            return self._commands(closing)
        finally:
            self._depth -= 1

    def _commands(self, closing: str) -> str:
        command = self._begin()
        while self.at < self.end:
            character = self.text[self.at]
            if character in " \t" or self.text.startswith("\\\n", self.at):
                self.at += 1 if character in " \t" else 2
            elif character == "#":
                self._comment()
            elif character == ")":
                if closing == ")":
                    self.at += 1
                    return ")"
                return ""
            elif character == "(":
                command = self._bracket(command)
            elif operator := self._operator():
                if operator in _REDIRECTIONS:
                    self._redirection(operator, command)
                    continue
                if operator == "\n":
                    self._documents()
                elif operator in (";;", ";;&", ";&"):
                    if closing == "esac":
                        return ";;"
                    self._doubt("behind `;;` outside of a case")
                command = self._begin()
            else:
                ended, command = self._next_word(command, closing)
                if ended:
                    return ended
        return ""

    def _begin(self) -> Simple:
        command = Simple()
        self.commands.append(command)
        return command

    def _operator(self) -> str:
        found = next((each for each in _OPERATORS if self.text.startswith(each, self.at)), "")
        self.at += len(found)
        return found

    def _bracket(self, command: Simple) -> Simple:
        """A subshell, or a function's `()`."""
        if self.text.startswith("((", self.at):
            self._doubt("beside `((`, which is arithmetic to some shells")
        self.at += 1
        if command.words:
            empty = re.compile(r"[ \t]*\)").match(self.text, self.at)
            if not empty or len(command.words) != 1:
                self._doubt("beside a bracket that not every shell takes")
            if empty:
                self.functions.update(command.words)
                self.at = empty.end()
                return self._begin()
        if self._list(")") != ")":
            self._doubt("in a bracket that is never closed")
        return self._begin()

    def _next_word(self, command: Simple, closing: str) -> tuple[str, Simple]:
        start = self.at
        word = self._word(command, len(command.words))
        if self.at == start:
            self._doubt("behind something that cannot be read")
            self.at += 1
            return "", command
        text = "".join(word.text)
        if text.isdecimal() and not word.quoted and self.text[self.at : self.at + 1] in ("<", ">"):
            return "", command
        if not command.words and not word.quoted:
            if text == "esac" and closing == "esac":
                return "esac", command
            if text == "case":
                self._case()
                return "", self._begin()
            if text in ("for", "select", "function"):
                return "", self._named(text)
            if text in _RESERVED:
                return "", self._begin()
        is_first = len(command.words) == command.assigned
        self._append(command, word)
        if text in _NUMERIC and command.words[0] == "[[":
            self.evaluated |= {name for each in command.words for name in _IDENTIFIER.findall(each)}
        elif command.words[0] == "[[" and _NUMERIC & {*command.words}:
            self.evaluated |= set(_IDENTIFIER.findall(text))
        if is_first and ASSIGNMENT.match(self.text[start : self.at]):
            command.assigned += 1
        return "", command

    def _append(self, command: Simple, word: _Word) -> None:
        command.words.append("".join(word.text))
        command.names.append(frozenset(word.names))
        command.taints.append(frozenset(word.names | word.taints))
        command.heads.append(frozenset(word.heads))

    def _named(self, keyword: str) -> Simple:
        """`for NAME in WORDS`: the words are data of a command that only remembers the name."""
        command = self._begin()
        first = _Word()
        first.text.append(keyword)
        self._append(command, first)
        self._blanks()
        word = self._word(command, _NAMED)
        self._append(command, word)
        if keyword == "function":
            self.functions.update(command.words[1:])
        self._blanks(lines=True)
        if keyword != "function" and re.compile(r"in(?=[\s;])").match(self.text, self.at):
            self.at += 2
            while True:
                self._blanks()
                if self.at >= self.end or self.text[self.at] in ";\n&|<>()#":
                    break
                given = self._word(command, _DATA)
                command.taints[1] |= given.names | given.taints
        return self._begin()

    def _case(self) -> None:
        command = self._begin()
        self._blanks()
        self._word(command, _DATA)
        self._blanks(lines=True)
        if not re.compile(r"in(?=[\s(])").match(self.text, self.at):
            self._doubt("in a case that cannot be read")
            return
        self.at += 2
        while True:
            self._blanks(lines=True)
            if re.compile(r"esac(?![^\s;&|<>()])").match(self.text, self.at):
                self.at += 4
                return
            if not self._patterns(command):
                return
            ended = self._list("esac")
            if ended != ";;":
                if not ended:
                    self._doubt("in a case without its esac")
                return

    def _patterns(self, command: Simple) -> bool:
        if self.text.startswith("(", self.at):
            self.at += 1
        while True:
            self._blanks()
            before = self.at
            self._word(command, _DATA)
            self._blanks()
            character = self.text[self.at : self.at + 1]
            if character in (")", "|"):
                self.at += 1
            if character == ")":
                return True
            if character != "|" or before == self.at - 1:
                self._doubt("in a case that cannot be read")
                return False

    def _blanks(self, lines: bool = False) -> None:
        while self.at < self.end:
            if self.text[self.at] in " \t" or self.text.startswith("\\\n", self.at):
                self.at += 1 if self.text[self.at] in " \t" else 2
            elif lines and self.text[self.at] == "\n":
                self.at += 1
                self._documents()
            elif lines and self.text[self.at] == "#":
                self._comment()
            else:
                return

    def _comment(self) -> None:
        end = self.text.find("\n", self.at)
        end = self.end if end < 0 else min(end, self.end)
        while self.at < end:
            if not self._placeholder(COMMENT, None):
                self.at += 1

    def _redirection(self, operator: str, command: Simple) -> None:
        if operator in ("<", ">") and self.text.startswith("(", self.at):
            # bash's <( ): dash takes it for an error and runs nothing. A file to whoever gets it.
            made = _Word()
            made.text.append("/dev/fd/63")
            self._append(command, made)
            self.at += 1
            self._levels.append((command, _DATA))
            if self._list(")") != ")":
                self._doubt("in a bracket that is never closed")
            self._levels.pop()
            return
        self._blanks()
        if operator not in ("<<", "<<-"):
            word = self._word(command, _DATA)
            if operator not in ("<", "<<<", "<&"):
                self.written.add("".join(word.text))
            return
        start = self.at
        word = self._word(command, _DATA)
        raw = self.text[start : self.at]
        if not raw or "$" in raw or "`" in raw or any(start <= at < self.at for at in self._known):
            self._doubt("beside a here-document whose delimiter is not plain")
        quoted = any(character in raw for character in "'\"\\")
        self._pending.append(_Pending("".join(word.text), quoted, operator == "<<-", command))

    # -- words

    def _word(self, command: Simple, place: int) -> _Word:
        word = _Word()
        self._levels.append((command, place))
        self._open.append(word)
        while self.at < self.end:
            character = self.text[self.at]
            if character in _WORD_END:
                break
            if not self._placeholder(UNQUOTED, word):
                self._part(character, word)
        self._levels.pop()
        self._open.pop()
        if self._open:
            self._open[-1].taints |= word.names | word.taints
        return word

    def _part(self, character: str, word: _Word) -> None:
        if character == "\\":
            word.quoted = True
            self._escape(word)
        elif character == "'":
            word.quoted = True
            self._single(word)
        elif character == '"':
            word.quoted = True
            self.at += 1
            self._double(word, '"')
        elif character == "$":
            self._dollar(word, UNQUOTED)
        elif character == "`":
            self._backticks(word, UNQUOTED)
        else:
            word.text.append(character)
            self.at += 1

    def _placeholder(self, quote: str, word: _Word | None) -> bool:
        match = self._known.get(self.at)
        if match is None or match.end() > self.end:
            return False
        inside = _QUOTED_HERE if quote == LITERAL else self._inside[-1] if self._inside else ""
        begins = word is not None and "".join(word.text) in ("", "-", "--")
        self.spots.append(Spot(match[1], self.at, match.end(), quote, inside, tuple(self._levels), begins))
        self.at = match.end()
        if self._open:
            self._open[-1].taints.add(match[0])
        if word is not None:
            word.text.append(UNKNOWN)
        return True

    def _escape(self, word: _Word) -> None:
        self.at += 1
        if self.at in self._known:
            self._inside.append(_ESCAPED)
            self._placeholder(UNQUOTED, word)
            self._inside.pop()
        elif self.at < self.end:
            word.text.append("" if self.text[self.at] == "\n" else self.text[self.at])
            self.at += 1

    def _single(self, word: _Word) -> None:
        self.at += 1
        while self.at < self.end:
            character = self.text[self.at]
            if character == "'":
                self.at += 1
                return
            if not self._placeholder(SINGLE, word):
                word.text.append(character)
                self.at += 1
        self._doubt("behind a ' that is never closed")

    def _double(self, word: _Word, closing: str, quote: str = DOUBLE) -> None:
        """Up to the closing quote; to the end of the text for a here-document, which has none."""
        while self.at < self.end:
            character = self.text[self.at]
            if closing and character == closing:
                self.at += 1
                return
            if self._placeholder(quote, word):
                continue
            if character == "\\":
                self._escape_in(word, quote)
            elif character == "$":
                self._dollar(word, quote)
            elif character == "`":
                self._backticks(word, quote)
            else:
                word.text.append(character)
                self.at += 1
        if closing:
            self._doubt('behind a " that is never closed')

    def _escape_in(self, word: _Word, quote: str) -> None:
        self.at += 1
        if self.at in self._known:
            self._inside.append(_ESCAPED)
            self._placeholder(quote, word)
            self._inside.pop()
            return
        following = self.text[self.at : self.at + 1]
        if self.at < self.end:
            word.text.append(following if following in '$`"\\' else "" if following == "\n" else "\\" + following)
            self.at += 1

    def _dollar(self, word: _Word, quote: str) -> None:
        following = self.text[self.at + 1 : self.at + 2] if self.at + 1 < self.end else ""
        if self.text.startswith("$((", self.at):
            word.text.append(UNKNOWN)
            self._arithmetic(word)
        elif following == "(":
            word.text.append(UNKNOWN)
            self.at += 2
            before = len(self.commands)
            self._substitution()
            self._remember(word, self.commands[before:])
        elif following == "{":
            word.text.append(UNKNOWN)
            self.at += 2
            self._braces(word, quote)
        elif following == "[":
            self._doubt("beside `$[`, which is arithmetic to some shells")
            self.at += 2
        elif following == "'" and quote == UNQUOTED:
            self.at += 1
            close = self.text.find("'", self.at + 1)
            if "\\" in self.text[self.at : close if close >= 0 else self.end]:
                self._doubt("beside $' ', which shells read differently")
        elif name := _NAME.match(self.text, self.at + 1):
            word.text.append(UNKNOWN)
            word.names.add(name[0])
            self.at = name.end()
        else:
            # `$"`: a `$` to dash, a text to translate to bash; quoted in both.
            word.text.append("$")
            self.at += 1

    def _remember(self, word: _Word, commands: Sequence[Simple]) -> None:
        """What runs in a substitution."""
        for simple in commands:
            word.heads |= set(simple.words[simple.assigned : simple.assigned + 1])
            if simple.words == ["cat"] or (self.written and simple.words):
                # What comes on stdin, or stands in a file, may be it.
                word.taints.add("1")

    def _substitution(self) -> None:
        pending, self._pending = self._pending, []
        if self._list(")") != ")":
            self._doubt("in a $( that is never closed")
        if self._pending:
            self._doubt("beside a here-document that begins behind its brackets")
        self._pending = pending

    def _arithmetic(self, word: _Word) -> None:
        """`$(( ))`, unless it turns out to be a subshell in a substitution, as for the shells."""
        start, kept, doubt = self.at, len(self.spots), self.unsure
        self.at += 3
        self._inside.append(_ARITHMETIC)
        depth = 0
        inner = _Word()
        self._open.append(inner)
        while self.at < self.end:
            character = self.text[self.at]
            if self._placeholder(UNQUOTED, word):
                continue
            if name := _IDENTIFIER.match(self.text, self.at):
                inner.names.add(name[0])
                self.at = name.end()
                continue
            if character == ")" and not depth:
                break
            if character in "()":
                depth += 1 if character == "(" else -1
                self.at += 1
            elif character in "\\'\"$`":
                self._part(character, inner)
            else:
                self.at += 1
        self._open.pop()
        self._inside.pop()
        self.evaluated |= inner.names | inner.taints
        word.taints |= inner.names | inner.taints
        if self.text.startswith("))", self.at) and self.at < self.end:
            self.at += 2
            return
        del self.spots[kept:]
        self.at, self.unsure = start + 2, doubt
        self._doubt("beside `$((`, which shells read differently")
        self._substitution()

    def _braces(self, word: _Word, quote: str) -> None:
        name = _NAME.match(self.text, self.at)
        if name:
            word.names.add(name[0])
            if self.text.startswith(("=", ":="), name.end()):
                self.defaulted.add(name[0])
        if _EVALUATING.match(self.text, self.at):
            self._doubt("beside a ${ } that some shells evaluate")
        self._inside.append(_BRACES)
        while self.at < self.end:
            character = self.text[self.at]
            if self._placeholder(quote, word):
                continue
            if character == "}":
                self.at += 1
                self._inside.pop()
                return
            if character == "'" and quote != UNQUOTED:
                self._doubt("beside a ' in ${ }, which shells read differently")
                self.at += 1
            elif character in "\\'\"$`":
                self._part(character, word)
            else:
                self.at += 1
        self._inside.pop()
        self._doubt("in a ${ that is never closed")

    def _backticks(self, word: _Word, quote: str) -> None:
        word.text.append(UNKNOWN)
        self.at += 1
        start = self.at
        self._inside.append(_BACKTICKS)
        while self.at < self.end:
            character = self.text[self.at]
            if character == "`":
                self._run(self.text[start : self.at], word)
                self.at += 1
                break
            if not self._placeholder(quote, word):
                self.at += 2 if character == "\\" else 1
        else:
            self._doubt("in backticks that are never closed")
        self._inside.pop()

    def _run(self, text: str, word: _Word) -> None:
        """What stands in backticks: its placeholders are known, its commands are not."""
        inner = read_script(re.sub(r'\\([\\$`"])', r"\1", text))
        self.commands += inner.commands
        self.evaluated |= inner.evaluated
        self.written |= inner.written
        self.functions |= inner.functions
        self.defaulted |= inner.defaulted
        if inner.unsure:
            self._doubt("beside backticks that cannot be read")
        self._remember(word, inner.commands)
        for simple in inner.commands:
            word.taints |= frozenset().union(*simple.taints)

    # -- here-documents

    def _documents(self) -> None:
        """A line has ended: the bodies of the here-documents that it began follow."""
        pending, self._pending = self._pending, []
        for document in pending:
            self._document(document)

    def _document(self, document: _Pending) -> None:
        start = self.at
        close, after = self._closing(document, start)
        outer = self.end
        self.end = close
        word = _Word()
        self._levels.append((document.command, _DATA))
        if document.quoted:
            while self.at < self.end:
                if not self._placeholder(LITERAL, None):
                    self.at += 1
        else:
            self._double(word, "", HERE)
        self._levels.pop()
        if self.at > close:
            self._doubt("in a here-document that ends inside of a bracket")
        self.at, self.end = after, outer

    def _closing(self, document: _Pending, start: int) -> tuple[int, int]:
        """Where the body ends, and where it goes on behind the delimiter."""
        at = start
        continued = False
        while at < self.end:
            stop = self.text.find("\n", at, self.end)
            stop = self.end if stop < 0 else stop
            line = self.text[at:stop]
            if (line.lstrip("\t") if document.tabs else line) == document.delimiter:
                if continued and not document.quoted:
                    self._doubt("in a here-document whose end is behind a backslash")
                return at, min(stop + 1, self.end)
            continued = (len(line) - len(line.rstrip("\\"))) % 2 == 1
            at = stop + 1
        self._doubt("in a here-document without its end")
        return self.end, self.end
