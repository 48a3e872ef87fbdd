"""Templates: strict, sandboxed, bounded, and every failure a sentence."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ipc.score.template import MAX_OUTPUT, TemplateProblem, names_used, render

VARIABLES: dict[str, Any] = {
    "a": 1, "f": 1.5, "s": "x" * 100, "xs": list(range(1000)), "d": {1: "one"}, "workspace": "/w", "sheet_num": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("play {{ sheet_num }}", "play 3"),
        ("keeps its newline\n", "keeps its newline\n"),
        ("{{ d[1] }} {{ a ~ '-' ~ f }} {{ a + f }}", "one 1-1.5 2.5"),
        ("{% for x in xs[:2] %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}", "1/2,2/2"),
        ("{% for k, v in d.items() %}{{ k }}={{ v }}{% else %}none{% endfor %}", "1=one"),
        ("{% for n in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% for n in [[1], 2] recursive %}{{ loop(n) if n is iterable else n }}{% endfor %}", "12"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(3) }}", "<3>"),
        ("{% set y = 4 %}{{ y }}{% if missing is defined %}no{% endif %}{{ missing|default('z') }}", "4z"),
        ("{{ '%s and %d' % ('a', 3) }} {{ '{:>3}'.format(a) }}", "a and 3   1"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{{ 5000000|abs }} {{ 'a'|center(5) }}", "5000000   a  "),
        ("{{ '<b>' }}", "<b>"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_templates_write(text: str, expected: str) -> None:
    assert render(text, VARIABLES) == expected


#: Template → words of the problem.
REFUSED = {
    "{{ sheet_nun }}": "undefined variable 'sheet_nun'\ndid you mean 'sheet_num'?",
    "{{ qqq }}": "undefined variable 'qqq'\nknown are a, d",
    "{{ d[2] }}": "no element 2",
    "{{ d.name }}": "no attribute 'name'",
    "{{ xs[5000] }}": "no element 5000",
    "{{ a / 0 }}": "division by zero",
    "{{ a.upper() }}": "undefined",
    "{{ 's' + 1 }}": "the template fails",
    "{{ ''.__class__ }}": "refused",
    "{{ ''['__class__'] }}": "refused",
    "{{ ''|attr('__class__') }}": "refused",
    "{{ xs.append(1) }}": "refused",
    "{{ d.update({2: 3}) }}": "refused",
    "{{ cycler.__init__.__globals__ }}": "refused",
    "{{ self.__init__ }}": "refused",
    "{{ '{0.__class__}'.format(a) }}": "refused",
    "{{ lipsum() }}": "undefined variable 'lipsum'",
    "{% if %}": "syntax",
    "{% if a %}": "{% endif %}",
    "{% nothing %}": "no tag {% nothing %}",
    "{{ a d }}": "{% raw %}",
    "{{ x": "syntax",
    "{{ a }}{% endfor %}": "syntax",
    "{{ a|nofilter }}": "syntax",
    "{% include 'nowhere.md' %}": "does not exist",
    "{% include '../x.md' %}": "outside",
    "{% include '/etc/passwd' %}": "outside",
    "{% include 'link.md' %}": "outside",
    "{% include 'itself.md' %}": "check whether it includes itself",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(3) }}": "too deeply",
}


@pytest.fixture
def directory(tmp_path: Path) -> str:
    place = tmp_path / "templates"
    place.mkdir()
    (place / "part.md").write_text("part {{ a }}")
    (place / "itself.md").write_text("{% include 'itself.md' %}")
    (place / "deep").mkdir()
    (place / "deep" / "part.md").write_text("deep {{ missing }}")
    (tmp_path / "x.md").write_text("secret")
    os.symlink(tmp_path / "x.md", place / "link.md")
    return str(place)


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_is_said(text: str, directory: str) -> None:
    with pytest.raises(TemplateProblem) as caught:
        render(text, VARIABLES, directory)
    assert REFUSED[text] in f"{caught.value.message}\n{caught.value.hint}"


def test_files_of_its_directory_can_be_included(directory: str) -> None:
    assert render("{% include 'part.md' %}!", VARIABLES, directory) == "part 1!"
    with pytest.raises(TemplateProblem, match="'missing'"):
        render("{% include 'deep/part.md' %}", VARIABLES, directory)
    with pytest.raises(TemplateProblem) as caught:
        render("{% include 'part.md' %}", VARIABLES)
    assert caught.value.hint == "nothing can be included here"


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in xs %}{% for j in xs %}{% for k in xs %}{% endfor %}{% endfor %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% for i in range(90000) %}{{ s }}{% endfor %}",
        "{{ range(10 ** 9) }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ xs * 10 ** 9 }}",
        "{{ 2 ** 65 ** 2 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ 'x'|center(10 ** 9) }}",
        "{{ 'x'|indent(width=10 ** 9) }}",
        "{{ 'x'.ljust(10 ** 9) }}",
    ],
)
def test_what_would_take_for_ever_ends(text: str) -> None:
    started = time.process_time()
    with pytest.raises(TemplateProblem):
        render(text, VARIABLES)
    assert time.process_time() - started < 3


def test_a_long_prompt_is_a_prompt() -> None:
    assert len(render("{{ s * 50000 }}", VARIABLES)) == 5_000_000 < MAX_OUTPUT


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{ a }} {{ b }}\n{{ a }}\n{% if c %}{{ d.e }}{% endif %}", {"a": 1, "b": 1, "c": 3, "d": 3}),
        ("{% for x in xs %}{{ x }}{{ loop.index }}{% endfor %}", {"xs": 1}),
        ("{% set y = 1 %}{{ y }}{% macro m(p) %}{{ p }}{{ q }}{% endmacro %}{{ m(1) }}", {"q": 1}),
        ("{{ m|default(1) }}{{ n|d('') }}{% if o is defined %}{{ o }}{% endif %}{{ p is undefined }}", {}),
        ("{{ range(3) }}{{ dict(a=1) }}{{ namespace() }}", {}),
        ("{% import 'x' as lib %}{{ lib.y }}{% from 'x' import z as w %}{{ w }}", {}),
        ("plain", {}),
    ],
)
def test_the_names_that_a_template_needs(text: str, names: dict[str, int]) -> None:
    assert names_used(text) == names


def test_a_syntax_error_knows_its_line() -> None:
    with pytest.raises(TemplateProblem) as caught:
        names_used("one\ntwo\n{% if %}")
    assert caught.value.line == 3
