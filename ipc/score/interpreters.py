"""What the words of one command line are to the program that gets them: data, code that it runs, or what is started.

`sh -c CODE`, `env python3 -c CODE`, `perl -e CODE`, `find … -exec sh -c CODE`, `eval CODE`: a value that becomes part of such a
word is run. Only what stands in these tables is known; any other program's arguments are data. Pure. `shell` asks it for
each command of a script, `commands` for the words of an argument list.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

#: Stands in a word for what is not written there: a placeholder, an expansion.
UNKNOWN = "\0"

SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "fish", "rbash", "csh", "tcsh"})


@dataclass(frozen=True, slots=True)
class _Language:
    """How an interpreter's options are read."""

    code: str = ""
    """Letters whose option takes code; it may stand in a cluster (`-Ic`) or have the code attached (`-e1`)."""
    code_words: tuple[str, ...] = ()
    """Long options that take code."""
    last: bool = False
    """What follows the code is data, as in `python -c CODE argument`."""
    taking: str = ""
    """Letters whose option takes another value."""
    taking_words: tuple[str, ...] = ()
    script: bool = True
    """Without code, the first operand is a script; without that, stdin is."""


_LANGUAGES: dict[str, _Language] = {
    "python": _Language("cm", last=True, taking="WX"),
    "pypy": _Language("cm", last=True, taking="WX"),
    "perl": _Language("eE", taking="IxF"),
    "ruby": _Language("e", taking="IrCEK"),
    "node": _Language("ep", ("--eval", "--print"), taking="rC", taking_words=("--require", "--import", "--loader")),
    "bun": _Language("ep", ("--eval", "--print"), taking="r"),
    "php": _Language("rBRE", taking="dczS"),
    "lua": _Language("e", taking="l"),
    "Rscript": _Language("e"),
    "R": _Language("e", taking="f"),
    "osascript": _Language("e", taking="l"),
    "pwsh": _Language("", ("-Command", "-c", "-EncodedCommand", "-e"), taking_words=("-ExecutionPolicy",)),
    "tclsh": _Language(),
    "expect": _Language("c"),
    "julia": _Language("eE"),
    "elixir": _Language("e"),
    "groovy": _Language("e"),
    "scala": _Language("e"),
    "guile": _Language("c"),
    "racket": _Language("e"),
    "octave": _Language("", ("--eval",)),
    "ipython": _Language("cm", last=True),
    "ghci": _Language("e"),
    "irb": _Language("e"),
    "jshell": _Language(),
    "tsx": _Language("e", ("--eval",)),
}
#: Their first operand is the program, unless an option gives it.
_FILTERS: dict[str, _Language] = {
    "awk": _Language("e", ("--source",), taking="fFv", taking_words=("--file", "--assign", "--field-separator")),
    "sed": _Language("e", ("--expression",), taking="fl", taking_words=("--file", "--line-length")),
}
_ALIASES = {"gawk": "awk", "mawk": "awk", "nawk": "awk", "gsed": "sed", "nodejs": "node", "luajit": "lua"}
_VERSIONED = re.compile(r"(python|pypy|perl|ruby|php|lua|tclsh)[0-9][0-9.]*\Z")

#: Programs that start another: their options that take a value, and how many operands come before the other program.
_STARTERS: dict[str, tuple[str, int]] = {
    "env": ("uCS", 0), "timeout": ("sk", 1), "nice": ("n", 0), "nohup": ("", 0), "setsid": ("", 0), "stdbuf": ("ioe", 0),
    "ionice": ("cnp", 0), "xargs": ("InPLdEsa", 0), "sudo": ("ughpCTUR", 0), "doas": ("uC", 0), "exec": ("a", 0),
    "command": ("", 0), "builtin": ("", 0), "time": ("fo", 0), "flock": ("wE", 1), "chroot": ("", 1), "unshare": ("", 0),
    "strace": ("eopsuE", 0), "chronic": ("", 0), "busybox": ("", 0), "setpriv": ("", 0), "taskset": ("", 1), "chrt": ("", 1),
    "systemd-run": ("pEu", 0), "unbuffer": ("", 0), "caffeinate": ("", 0), "coproc": ("", 0),
}  # fmt: skip
#: These start another program somewhere behind subcommands and options of their own.
_DEEP_STARTERS = frozenset(
    {
        "docker", "podman", "kubectl", "nsenter", "bwrap", "firejail", "uv", "uvx", "poetry", "pipenv", "pdm",
        "hatch", "npx", "npm", "pnpm", "yarn", "bunx", "conda", "mamba", "nix", "direnv", "dbus-run-session",
            "xvfb-run", "proot", "pkexec", "setarch", "linux32", "linux64", "prlimit", "numactl", "cpulimit", "faketime",
        "fakeroot", "eatmydata", "dbus-launch", "ccache", "distcc", "tini", "dumb-init", "gosu", "su-exec", "catchsegv",
        "valgrind", "perf", "hyperfine", "torsocks", "proxychains", "proxychains4", "ltrace", "rlwrap", "mpirun", "mpiexec",
        "srun", "sshpass", "start-stop-daemon", "go", "cargo", "ip",
    }
)  # fmt: skip
#: So many operands of theirs may name what is started; of the others one.
_NAMING = {
    "docker": 3, "podman": 3, "kubectl": 3, "direnv": 3, "nix": 3, "ip": 4, "uv": 2, "poetry": 2, "pipenv": 2, "pdm": 2,
    "hatch": 2, "npm": 2, "pnpm": 2, "yarn": 2, "conda": 2, "mamba": 2, "go": 2, "cargo": 2, "setarch": 2, "gosu": 2,
    "su-exec": 2,
    "faketime": 2, "perf": 2,
}  # fmt: skip
#: All that they are given may be run: remotely, later, by a shell of theirs, or by commands that their own language has.
_RUN_ANYTHING = frozenset(
    {
        "eval", "trap", "alias", "let", ".", "source", "ssh", "su", "runuser", "watch", "parallel", "script",
        "at", "batch", "tmux", "screen", "make", "gmake", "just", "ed", "ex", "vi", "vim", "nvim", "emacs",
        "dc", "m4", "gdb", "sqlite3", "psql", "mysql", "entr", "ts-node", "deno", "bind", "complete", "compgen",
        "hash", "enable", "declare", "typeset", "[[", "function", "select", "fc", "history", "mosh", "rsh", "vagrant",
        "heroku", "flyctl", "fly", "gcloud", "cmd", "powershell", "wsl", "lxc-attach", "nc", "ncat", "socat",
        "crontab", "ansible",
        "integer", "shopt", "cmake",
    }
)  # fmt: skip
#: What they run may stand in a file.
_RUN_FILES = frozenset(
    {"make", "gmake", "just", "gdb", ".", "source", "vim", "nvim", "emacs", "m4", "sqlite3", "psql", "deno", "ts-node"}
)
_READ_COMMANDS = frozenset(
    {"crontab", "at", "batch", "ed", "ex", "dc", "m4", "gdb", "sqlite3", "psql", "mysql", "parallel"}
)
#: What they are given are names, which some shells evaluate (`unset 'a[$(id)]'`); NAME=VALUE is data.
_TAKE_NAMES = frozenset({"export", "readonly", "local", "unset", "read", "getopts", "mapfile", "readarray", "wait"})
_EXECUTING = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
#: Variables by which programs or the shell itself run something.
RUNNING_VARIABLES = re.compile(
    r"(PATH|IFS|ENV|BASH_ENV|PS[0-4]|PROMPT_COMMAND|SHELLOPTS|LD_PRELOAD|LD_LIBRARY_PATH|LD_AUDIT|EDITOR|VISUAL|PAGER|"
    r"BROWSER|SHELL|"
    r"PYTHON\w*|PERL\w*|RUBY\w*|NODE_\w+|GIT_\w+|LESS\w*|MAN\w+|MAKEFLAGS|JAVA_\w+|_JAVA_OPTIONS|JDK_\w+|CLASSPATH|CC|CXX|LD|"
    r"CARGO_\w+|RUSTC\w*|GO\w+|npm_\w+|NPM_\w+|DOCKER_\w+|OPENSSL_\w+|GCONV_PATH|TERMINFO\w*|TERMCAP|INPUTRC|HOME|"
    r"XDG_\w+|ZDOTDIR|"
    r"\w+_(PAGER|EDITOR|COMMAND|ASKPASS|OPTIONS|FLAGS|RSH|WRAPPER|SHELL|PRELOAD|PATH))\Z"
)
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=")
#: stdin, or what a redirection opened, by name.
_STDIN = re.compile(r"-|/dev/stdin|/dev/fd/\d+|/proc/\w+/fd/\d+")
#: Options whose value a program runs, unless it is known that it does not.
_RUN_OPTION = re.compile(
    r"-[cex]|--?(eval|exec|execute|command|cmd|run|filter|to-command|use-compress-program|compress-program|"
    r"checkpoint-action|rsh|"
    r"rsync-path|upload-pack|receive-pack|pager|editor|shell|askpass|wrapper|hook|expr|plugin|preload|unzip-command|"
    r"pre-invoke|post-invoke)"
)
#: Theirs are data.
_HARMLESS_OPTIONS = frozenset(
    {
        "grep", "egrep", "fgrep", "rg", "ag", "wc", "head", "tail", "cut", "sort", "uniq", "gzip", "stat", "du",
        "curl", "jq", "yq",
        "cat", "ls", "cp", "mv", "rm", "mkdir", "touch", "diff", "cmp", "tr", "tee", "set", "pytest", "gh", "glab", "sha256sum",
    }
)  # fmt: skip
#: By program, more options whose value is run.
_RUN_LETTERS = {
    "tar": ("-I", "-F"), "less": ("-k",), "zip": ("-TT",), "man": ("-P", "-H"), "gcc": ("-wrapper",), "tcpdump": ("-z",),
    "apt-get": ("-o",), "apt": ("-o",),
}  # fmt: skip
#: Builtins and programs to which what begins with `-` is text as any other.
_TAKE_TEXT = frozenset(
    {
        "echo", ":", "true", "false", "test", "[", "expr", "exit", "return", "shift", "break", "continue", "export", "readonly",
        "local", "for", "case", "select", "seq", "kill",
    }
)  # fmt: skip
#: Options whose value is the next word, whatever it begins with.
_VALUED = {
    "git": ("-m", "-F", "--message"), "gh": ("-t", "-b", "--title", "--body", "-m"), "grep": ("-e", "--regexp"),
    "rg": ("-e", "--regexp"),
    "curl": ("-d", "--data", "--data-raw", "--data-urlencode", "-H", "--header"), "egrep": ("-e",), "fgrep": ("-e",),
}  # fmt: skip


@dataclass(slots=True)
class Reading:
    """Of one command line, by the index of its words."""

    code: dict[int, str] = field(default_factory=dict)
    """Words that are run, with the name of who runs them; also those that name what is started."""
    shell_code: set[int] = field(default_factory=set)
    """Of these, the code of a POSIX shell."""
    stdin: str = ""
    """Who reads its program from stdin; empty: nobody."""
    maybe: set[int] = field(default_factory=set)
    """Of these, words that name a thing as often as they are run: the author's own may stand there."""
    options: dict[int, str] = field(default_factory=dict)
    """Words that would be options of this program if they began with `-`."""
    program: int | None = None
    """The word that is an interpreter's program: its code or its script."""


def read_words(words: Sequence[str]) -> Reading:
    """`words` without quotes, UNKNOWN where something is not known."""
    found = Reading()
    _read(words, 0, len(words), found)
    return found


def program_name(word: str) -> str:
    """By which the tables know it."""
    name = os.path.basename(word)
    versioned = _VERSIONED.match(name)
    return versioned[1] if versioned else _ALIASES.get(name, name)


def _read(words: Sequence[str], i: int, end: int, found: Reading) -> None:
    while i < end and (assigned := ASSIGNMENT.match(words[i])):
        if RUNNING_VARIABLES.match(assigned[1]):
            found.code[i] = assigned[1]
        i += 1
    if i >= end:
        return
    _read_options(words, i, end, found)
    name = program_name(words[i])
    found.code[i] = os.path.basename(words[i]) or "the shell"
    if name in _RUN_ANYTHING:
        found.code.update(dict.fromkeys(range(i + 1, end), name))
        found.stdin = found.stdin or (name if _reads_commands(name, words[i + 1 : end]) else "")
        if name == "ssh":
            found.stdin = found.stdin or _reads_far_away(words[i + 2 : end])
        if name in _RUN_FILES and any(_STDIN.fullmatch(word) for word in words[i + 2 : end]):
            found.stdin = name
        if name in (".", "source") and any(_STDIN.fullmatch(word) for word in words[i + 1 : i + 2]):
            found.stdin = name
    elif name in _TAKE_NAMES:
        found.code.update({j: name for j in range(i + 1, end) if _is_name(words[j])})
        found.maybe.update(j for j in range(i + 1, end) if ASSIGNMENT.match(words[j]))
    elif name in ("test", "[", "printf"):
        found.code.update({j: f"{name} -v" for j in range(i + 2, end) if words[j - 1] in ("-v", "-R")})
    elif name in SHELLS:
        _read_shell(words, i, end, found)
    elif name in _LANGUAGES:
        _read_language(words, i, end, name, _LANGUAGES[name], found)
    elif name in _FILTERS:
        _read_language(words, i, end, name, _FILTERS[name], found)
    elif name in _STARTERS:
        _read_starter(words, i, end, name, found)
    elif name in _DEEP_STARTERS:
        _read_deep(words, i, end, found)
    elif name == "find":
        _read_find(words, i, end, found)
    elif name not in _TAKE_TEXT and name not in _HARMLESS_OPTIONS:
        _read_run_options(words, i, end, name, found)


def _is_name(word: str) -> bool:
    assigned = ASSIGNMENT.match(word)
    return not assigned or bool(RUNNING_VARIABLES.match(assigned[1]))


def _read_run_options(words: Sequence[str], i: int, end: int, name: str, found: Reading) -> None:
    """`split --filter=CODE`, `julia -e CODE`, `git -c core.pager=CODE`."""
    for j in range(i + 1, end):
        head, equals, _ = words[j].partition("=")
        runs = _RUN_OPTION.fullmatch(head) or head in _RUN_LETTERS.get(name, ())
        if runs and (equals or j + 1 < end):
            place = j if equals else j + 1
            found.code[place] = name
            found.maybe.add(place)
    if name == "git" and {"config", "bisect", "submodule", "filter-branch", "difftool", "mergetool"} & {
        *words[i + 1 : end]
    }:
        found.code.update(dict.fromkeys(range(i + 1, end), name))
        found.maybe.update(range(i + 1, end))


def _read_options(words: Sequence[str], i: int, end: int, found: Reading) -> None:
    """A script of the author's own, by its path, takes its arguments by position."""
    name = program_name(words[i])
    own = "/" in words[i] and not words[i].startswith(("/", UNKNOWN))
    if name in _TAKE_TEXT or own or not name or UNKNOWN in name:
        return
    stop = next((j for j in range(i + 1, end) if words[j] == "--"), end)
    if name == "printf":
        stop = min(stop, i + 2)
    valued = _VALUED.get(name, ())
    found.options.update({j: name for j in range(i + 1, stop) if j == i + 1 or words[j - 1] not in valued})


def _reads_commands(name: str, arguments: Sequence[str]) -> bool:
    """Whether what comes on stdin is commands to it."""
    if name == "ssh":
        return sum(not word.startswith("-") for word in arguments) < 2
    return name in _READ_COMMANDS or (name in ("su", "runuser") and "-c" not in arguments)


def _reads_far_away(words: Sequence[str]) -> str:
    """Of `ssh host bash -s` and `ssh host 'bash -s'`: who there reads its program from stdin."""
    for j, word in enumerate(words):
        inner = [*word.split(), *words[j + 1 :]]
        if inner and program_name(inner[0]) in (*SHELLS, *_LANGUAGES):
            return read_words(inner).stdin
    return ""


def runs_files(name: str) -> bool:
    """Whether a file that it is given may hold what it runs."""
    return name in _RUN_FILES


def _read_shell(words: Sequence[str], i: int, end: int, found: Reading) -> None:
    name = os.path.basename(words[i])
    code = stdin = False
    j = i + 1
    while j < end and words[j][:1] in ("-", "+"):
        word = words[j]
        found.code[j] = name
        if word in ("-", "--"):
            j += 1
            break
        if not word.startswith("--"):
            code |= "c" in word and word[0] == "-"
            stdin |= "s" in word and word[0] == "-"
        j += 2 if word in ("--rcfile", "--init-file") or (word[-1:] in "oO" and word[1:2] != "-") else 1
    if code and j < end:
        found.code[j], found.program = name, j
        found.shell_code.add(j)
    elif stdin or j >= end:
        found.stdin = name
    elif not code:
        found.code[j], found.program = name, j
        if _STDIN.fullmatch(words[j]):
            found.stdin = name
    _are_given(j, end, found)


def _are_given(program: int, end: int, found: Reading) -> None:
    """What follows an interpreter's program are that program's arguments."""
    for j in range(program + 1, end):
        found.options.pop(j, None)


def _read_language(words: Sequence[str], i: int, end: int, name: str, language: _Language, found: Reading) -> None:
    is_filter, is_awk = name in _FILTERS, name == "awk"
    name = os.path.basename(words[i])
    given = False
    j = i + 1
    while j < end:
        word = words[j]
        if word == "--":
            j += 1
            break
        if word == "-" or not word.startswith("-"):
            break
        found.code[j] = name
        kind, attached = _option(word, language)
        step = 1 if attached or not kind else 2
        if kind == "code":
            given = True
            where = j if attached else j + 1
            found.code[where] = name
            found.program = where
            if language.last:
                _are_given(where, end, found)
                return
        elif kind == "file":
            # `awk -f FILE`, and `-v NAME=VALUE`, whose value is data.
            given |= is_filter and word.startswith(("-f", "--file"))
            if is_filter and step == 2 and word in ("-f", "--file"):
                found.program = j + 1
            if is_filter and _STDIN.fullmatch(_file_of(words, j, end)):
                found.stdin = name
            if step == 2 and j + 1 < end and not (is_awk and ASSIGNMENT.match(words[j + 1])):
                found.code[j + 1] = name
            elif is_awk and attached and ASSIGNMENT.match(word[2:]):
                found.code.pop(j)
        j += step
    if given:
        return
    if j < end and words[j] != "-":
        found.code[j], found.program = name, j
        if _STDIN.fullmatch(words[j]) and not is_filter:
            found.stdin = name
        if not is_filter:
            _are_given(j, end, found)
    elif not is_filter:
        found.stdin = name


def _file_of(words: Sequence[str], j: int, end: int) -> str:
    """Of `-f FILE`, `-fFILE`, `--file=FILE`; empty: it is no such option."""
    word = words[j]
    if word in ("-f", "--file"):
        return words[j + 1] if j + 1 < end else ""
    return word[2:] if word.startswith("-f") else word.removeprefix("--file=") if word.startswith("--file=") else ""


def _option(word: str, language: _Language) -> tuple[str, bool]:
    """Whether it takes code or another value, and whether that is attached to it."""
    head, equals, _ = word.partition("=")
    if head in language.code_words:
        return "code", bool(equals)
    if head in language.taking_words:
        return "file", bool(equals)
    if word.startswith("--"):
        return "", False
    for place, letter in enumerate(word[1:], 1):
        if letter in language.code:
            return "code", place + 1 < len(word)
        if letter in language.taking:
            return "file", place + 1 < len(word)
    return "", False


def _read_starter(words: Sequence[str], i: int, end: int, name: str, found: Reading) -> None:
    taking, operands = _STARTERS[name]
    j = i + 1
    while j < end:
        word = words[j]
        if word == "--":
            j += 1
            break
        if name == "env" and ASSIGNMENT.match(word):
            if RUNNING_VARIABLES.match(ASSIGNMENT.match(word)[1]):  # type: ignore[index]
                found.code[j] = name
            j += 1
        elif word.startswith("-") and len(word) > 1:
            found.code[j] = name
            if name == "command" and word in ("-v", "-V"):
                return
            if word == "-S" and name == "env" and j + 1 < end:
                found.stdin = found.stdin or read_words(words[j + 1].split()).stdin
            takes = not word.startswith("--") and word[-1] in taking
            if takes and j + 1 < end:
                found.code[j + 1] = name
            j += 2 if takes else 1
        else:
            break
    for place in range(j, min(end, j + operands)):
        found.code[place] = name
    j += operands
    if name == "flock" and j < end and words[j] in ("-c", "--command"):
        found.code.update({j: name, j + 1: name})
        found.shell_code.add(j + 1)
        return
    _are_given(j - 1, end, found)
    _read(words, j, end, found)
    if name == "xargs" and _is_fed_into_code(words, i, j, end):
        found.stdin = found.stdin or name


def _is_fed_into_code(words: Sequence[str], i: int, j: int, end: int) -> bool:
    """Whether what xargs reads becomes code of the command that begins at j."""
    given = [word for word in words[i + 1 : j] if word.startswith(("-I", "-i", "--replace"))]
    inner = list(words[j:end])
    if given:
        mark = words[j - 1] if given[-1] == "-I" else re.sub("^(-I|-i|--replace=?)", "", given[-1]) or "{}"
        return any(mark in inner[k] for k in read_words(inner).code if k < len(inner))
    return bool(inner) and len(inner) in read_words([*inner, UNKNOWN]).code


def _read_deep(words: Sequence[str], i: int, end: int, found: Reading) -> None:
    """From the first word on that names who runs code."""
    for j in range(i + 1, end):
        name = program_name(words[j])
        if name in SHELLS or name in _LANGUAGES or name in _RUN_ANYTHING or (name in _STARTERS and name != "exec"):
            _are_given(j - 1, end, found)
            _read(words, j, end, found)
            return
    if "run" in words[i + 1 : end] and program_name(words[i]) in ("uv", "go"):
        j = next((j for j in range(words.index("run", i + 1) + 1, end) if words[j] == "-" or words[j][:1] != "-"), end)
        found.program = j if j < end else None
        found.stdin = found.stdin or ("uv" if words[j : j + 1] == ["-"] else "")
    _read_naming(words, i, end, found)


def _read_naming(words: Sequence[str], i: int, end: int, found: Reading) -> None:
    """`npx X`, `docker exec -it c X`: an option may take the word behind it."""
    name = program_name(words[i])
    before = 0
    for j in range(i + 1, end):
        if before >= _NAMING.get(name, 1):
            return
        is_option = words[j].startswith("-")
        if words[j] == UNKNOWN:
            found.code[j] = name
            found.maybe.add(j)
        before += -1 if is_option and "=" not in words[j] and words[j] != "--" else not is_option


def _read_find(words: Sequence[str], i: int, end: int, found: Reading) -> None:
    j = i + 1
    while j < end:
        if words[j] in _EXECUTING:
            stop = next((k for k in range(j + 1, end) if words[k] in (";", "+")), end)
            _are_given(j, stop, found)
            _read(words, j + 1, stop, found)
            j = stop
        j += 1
