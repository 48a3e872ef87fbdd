"""Whatever a file holds, the answer is a score or a sentence: no other exception, from reading to plan."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc.errors import MozartError
from ipc.score.check import check
from ipc.score.load import load_score, read_score
from ipc.score.plan import plan
from ipc.score.schema import Score

TEXTS = st.sampled_from([
    "", "a", "1", "../x", "/dev/null", "~", "{workspace}/a", "{{ stage }}", "{{ x", "{nope}", "stage == 2", "stage ==", "(",
    "a\0b", "sheet_num > 'a'", "previous_outputs[1]", "command", "claude_cli", "file_exists", "content_regex", "🎻", "v2-v3",
])  # fmt: skip
ODD = st.none() | st.booleans() | st.integers(-3, 9) | st.floats(-2, 2) | TEXTS
SECTIONS = [Score, *(field.annotation for field in Score.model_fields.values())]
FIELDS = sorted({name for section in SECTIONS for name in getattr(section, "model_fields", {})})
NAMES = st.sampled_from([*FIELDS, "path", "pattern", "command", "condition", "nope", "1", "2"])
ANY = st.recursive(
    ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.integers(0, 4), inner, max_size=3),
    max_leaves=6,
)
CONDITIONS = st.sampled_from(["stage == 2", "sheet_num > 'a'", "stage > 1 and sheet_num < 9", "previous_outputs[1]"])
RULES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["file_exists", "content_contains", "file_modified"]),
        "path": st.just("a"),
        "pattern": st.just("b"),
    },
    optional={"condition": CONDITIONS, "description": st.just("{stage} {nope}")},
)


@st.composite
def near_scores(draw: st.DrawFn) -> dict[str, Any]:
    """A good score, or one with something odd somewhere."""
    document: dict[str, Any] = {
        "name": "song", "workspace": draw(st.sampled_from(["w", "../w", "/dev/null/w"])),
        "sheet": {"size": 1, "total_items": 4},
        "prompt": {"template": draw(TEXTS.filter(lambda text: "\0" not in text)),
                   "variables": draw(st.dictionaries(st.sampled_from(["n", "stage", "stakes"]), ANY, max_size=2))},
        "backend": {"type": "command", "command": ["true"]},
        "validations": draw(st.lists(RULES, max_size=3)),
    }  # fmt: skip
    if draw(st.booleans()):
        document["sheet"]["fan_out"] = draw(st.dictionaries(st.integers(1, 4), st.integers(1, 3), max_size=3))
        document["sheet"]["dependencies"] = {2: [1], 4: draw(st.lists(st.integers(1, 3), max_size=2))}
    if draw(st.booleans()):
        section = draw(st.sampled_from([document, document["sheet"], document["prompt"], document["backend"]]))
        section[draw(NAMES)] = draw(ANY)
    if draw(st.booleans()) and document["validations"] and isinstance(document["validations"], list):
        document["validations"][0][draw(st.sampled_from(["path", "pattern", "condition", "type"]))] = draw(ODD)
    return document


@settings(max_examples=120)
@given(
    near_scores(), st.dictionaries(NAMES, st.sampled_from(["1", "[", "a: b", "~", "{x: 1}"]), max_size=2), st.booleans()
)
def test_a_score_or_a_sentence(document: dict[str, Any], sets: dict[str, str], lenient: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "song.yaml")
        path.write_text(yaml.safe_dump(document, allow_unicode=True))
        try:
            read_score(str(path), lenient=lenient)
            loaded = load_score(str(path), {"stage": "1"}, sets, lenient=lenient)
        except MozartError as error:
            said = str(error)
        else:
            planned = plan(loaded, check(loaded), prompts=True)
            said = planned["name"]
            assert planned["total_sheets"] == len(planned["sheets"]) > 0
            assert Score.model_validate_json(loaded.score.model_dump_json()) == loaded.score
    assert said


@settings(max_examples=120)
@given(st.text(max_size=80) | st.text("&*!<>{}[]:-? ,|\n\t'\"#%@`a1~", max_size=80) | st.binary(max_size=40))
def test_any_bytes_are_a_score_or_a_sentence(content: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "song.yaml")
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        try:
            said = load_score(str(path)).path
        except MozartError as error:
            said = str(error)
    assert said
