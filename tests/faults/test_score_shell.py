"""What an agent said never becomes shell text: in whatever place of a command it stands, by real shells."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc.errors import MozartError

#: Programs that write what they get to $OUT, as it is.
SHOW = '#!/bin/sh\nfor each; do printf "%s\\0" "$each" >>"$OUT"; done\n'
TAKE = '#!/bin/sh\n{ cat; printf "\\0"; } >>"$OUT"\n'

#: Each puts {v} somewhere; what arrives is the value between these texts.
LEAVES = [
    ("show {v}", "", ""),
    ('show "{v}"', "", ""),
    ("show '{v}'", "", ""),
    ("show a{v}'b'", "a", "b"),
    ("show \"x y\"'{v}'z", "x y", "z"),
    ('show "$(printf %s {v}.)"', "", "."),
    ('x={v}; show "$x"', "", ""),
    ('for i in {v}; do show "$i"; done', "", ""),
    ('show "it\'s {v}"', "it's ", ""),
    ("show '\"'{v}'\"'", '"', '"'),
    ("A={v} sh -c 'show \"$A\"'", "", ""),
    ("sh -c 'show \"$1\"' sh {v}", "", ""),
    ("take <<E\nit's {v} \"\nE\n", "it's ", ' "\n'),
    ("take <<-E\n\t{v}\n\tE\n", "", "\n"),
    ("case {v} in *) show {v};; esac", "", ""),
    ("printf %s {v} | take", "", ""),
    ('set -- {v}; show "$1"', "", ""),
    ('show "$(case a in a) printf %s "{v}." ;; b) : ;; esac)"', "", "."),
    ('f() { show "$1"; }; f {v}', "", ""),
    ("env B={v} sh -c 'show \"$B\"'", "", ""),
    ('show \\\\"{v}"', "\\", ""),
    ('take <<E\n$(case x in x) printf %s "{v}";; esac)\nE\n', None, None),
]
#: What stands around: each must leave the shell where it was.
AROUND = [
    "@",
    "( @ )",
    "{ @\n}",
    "if true; then @\nfi",
    "x=$(@\n)",
    ': "$(@\n)"',
    "case a in (a) @\n;; esac",
    "# it's ( \" `\n@",
    "true && @",
    "echo 'don'\\''t' >/dev/null; @",
    ': "$(echo ")" \')\')"; @',
    "g() { @\n}; g",
    "while :; do @\nbreak; done",
    ": $((1+(2))); @",
    ": ${x:-a}; @",
    ": <<E\nisn't `true` \" (\nE\n@",
    ": <<'E'\n$( ' \" `\nE\n@",
    ": '# ' \"# \" a#b; @",
    "! false; @",
    ": 2>&1; @",
    ": `true`; @",
    ": $(case x in x) : ;; (y|z) : ;; esac); @",
    ": \\\n'\\' ; @",
    ': <<A <<"B"\n\'\nA\n"\nB\n@',
    ": $(: <<E\nit's )\nE\n); @",
]
SNIPPETS = [
    "$(touch PWNED)",
    "`touch PWNED`",
    "'; touch PWNED; '",
    '"; touch PWNED; "',
    "\ntouch PWNED\n",
    ")",
    "\\",
    "'",
    '"',
    "E\n",
    "\nE\n",
    "* ~ $HOME ${x} {v}",
    ";;",
    "-n",
    "#",
    " ",
    "ä→",
    "\t",
    "!",
]
#: Text that nobody would write, but agents and typing errors do.
NOISE = [
    *"'\"`$(){};|&<>#\\\n =!",
    "case x in",
    "esac",
    "if",
    "fi",
    "do",
    "done",
    "<<E",
    "\nE\n",
    "eval ",
    "sh -c ",
    "$((",
    "))",
    "${x:-",
    "show {v}",
    "{v}",
    ";;",
    "sh",
    "x=",
    "$x",
    "for i in ",
    "$'",
    "python3 -c ",
]
VALUES = st.lists(
    st.sampled_from(SNIPPETS) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4), max_size=5
).map("".join)


@pytest.fixture(scope="module")
def programs() -> Path:
    with tempfile.TemporaryDirectory() as directory:
        for name, text in (("show", SHOW), ("take", TAKE)):
            path = Path(directory) / name
            path.write_text(text)
            path.chmod(0o755)
        yield Path(directory)


def ran(script: str, environment: dict[str, str], programs: Path, shell: str) -> tuple[bytes, bool]:
    """What arrived, and whether the value ran."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        subprocess.run(
            [shell, "-c", script],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            env={"PATH": f"{programs}:{os.defpath}", "OUT": str(out), **environment},
        )
        return out.read_bytes() if out.exists() else b"", bool(list(Path(directory).rglob("PWNED")))


SHELLS = [shell for shell in ("/bin/sh", "/bin/bash") if os.path.exists(shell)]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(LEAVES), st.lists(st.sampled_from(AROUND), max_size=3), VALUES, st.sampled_from(SHELLS))
def test_A03_a_value_arrives_as_it_is(programs: Path, leaf: tuple, around: list[str], value: str, shell: str) -> None:
    from ipc.score.shell import compose

    script, before, after = leaf
    for each in around:
        script = each.replace("@", script)
    try:
        composed = compose(script, {"v": value}, ["v"])
    except MozartError:
        return
    arrived, did_run = ran(composed.text, composed.environment, programs, shell)
    assert not did_run
    if before is not None:
        assert arrived == f"{before}{value}{after}\0".encode(), composed.text


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(NOISE), max_size=12).map("".join), VALUES, st.sampled_from(SHELLS))
def test_A03_no_command_of_a_value_runs_whatever_is_written(
    programs: Path, script: str, value: str, shell: str
) -> None:
    from ipc.score.shell import compose

    value = f"{value}; touch PWNED; $(touch PWNED)"
    try:
        composed = compose(script, {"v": value}, ["v"])
    except MozartError:
        return
    assert not ran(composed.text, composed.environment, programs, shell)[1], composed.text


ALLOWED = [
    *(around.replace("@", leaf) for around, leaf in zip(AROUND, [leaf for leaf, _, _ in LEAVES] * 2, strict=False)),
    "git commit -m {v}",
    "grep -q '{v}' f",
    "python3 -c 'import sys; print(sys.argv[1])' {v}",
    "test {v} = y",
    "[ -n {v} ] && cd x",
    "awk -v x={v} '{print x}' f",
]


@pytest.mark.parametrize("script", ALLOWED)
def test_A03_what_can_be_right_is_taken(script: str) -> None:
    from ipc.score.shell import compose

    composed = compose(script, {"v": "x  y"}, ["v"])
    assert "x  y" not in composed.text
    assert composed.environment == {"MOZART_VALUE_V": "x  y"}


REFUSED = [
    "echo `echo {v}`",
    'echo "`echo {v}`"',
    "echo $(( {v} + 1 ))",
    "sh -c 'echo {v}'",
    'bash -ec "echo {v}"',
    "eval echo {v}",
    "eval \"x='{v}'\"",
    "{v}",
    '"{v}" a',
    "cat <<'END'\n{v}\nEND",
    "x={v}; eval echo $x",
    "x={v}; $x",
    'x={v}; sh -c "$x"',
    "printf %s {v} | sh",
    "sh <<E\n{v}\nE",
    ". {v}",
    "python3 -c \"print('{v}')\"",
    "perl -e 'print {v}'",
    "ssh host echo {v}",
    "env A=1 sh -c 'echo {v}'",
    "timeout 5 {v}",
    "xargs -n1 sh -c 'echo {v}'",
    "find . -exec sh -c 'x {v}' \\;",
    "awk '{ print \"{v}\" }' f",
    "sed 's/a/{v}/e' f",
    "trap 'echo {v}' EXIT",
    "echo \\{v}",
    'f() { "$@"; }; f {v}',
    "sh -c 'eval \"$1\"' sh {v}",
    "printf %s {v} | xargs -I% sh -c 'echo %'",
    "echo $(eval echo {v})",
    "$(echo {v})",
    "[[ {v} -eq 1 ]]",
    "((x = {v}))",
    "make X={v}",
    "PS4={v} sh -xc :",
    "echo ${x:-{v} }",
    "exec {v}",
    "sudo -u me {v}",
    "nice -n 5 {v}",
    'git log | while read l; do eval "$l"; done; echo {v}',
    "docker exec c sh -c 'echo {v}'",
]


@pytest.mark.parametrize("script", REFUSED)
def test_A03_what_cannot_be_right_is_refused(script: str) -> None:
    from ipc.score.shell import compose

    with pytest.raises(MozartError, match=r"^cannot pass \{v\} to a command: ") as raised:
        compose(script, {"v": "x"}, ["v"])
    assert raised.value.code == "E604"
    assert raised.value.hint


def test_A03_a_long_value_is_for_a_file() -> None:
    from ipc.score.shell import compose

    assert compose("echo {v}", {"v": "x" * 65_536}, ["v"]).environment
    with pytest.raises(MozartError, match="at most 65,536") as raised:
        compose("echo {v}", {"v": "x" * 65_537}, ["v"])
    assert raised.value.code == "E604"
    assert "file" in raised.value.hint
