"""Template variables, and maps with numbers for keys across JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from ipc.score.expand import expand
from ipc.score.load import LoadedScore
from ipc.score.variables import BUILT_INS, built_in, decode, encode, merge

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.just("__entries__")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(-9, 9), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_any_value_survives_json(value: Any) -> None:
    assert decode(orjson.loads(orjson.dumps(encode(value)))) == value


@given(VALUES)
def test_decoding_twice_changes_nothing(value: Any) -> None:
    if "__entries__" not in repr(value):
        assert decode(value) == value


def test_the_built_in_ones(load: Callable[..., LoadedScore]) -> None:
    loaded = load(sheet={"size": 1, "total_items": 3, "fan_out": {2: 2}}, prompt={"template": "x", "stakes": "high"})
    third = expand(loaded.score)[2]
    found = built_in(
        loaded.score, third, 4, job_id="song-1", attempt=2, previous_outputs={1: "a"}, previous_files={"f": "b"}
    )
    assert tuple(found) == BUILT_INS
    assert found == {
        "sheet_num": 3, "total_sheets": 4, "start_item": 3, "end_item": 3, "workspace": loaded.score.workspace, "stage": 2,
        "instance": 2, "fan_count": 2, "total_stages": 3, "previous_outputs": {"1": "a"}, "previous_files": {"f": "b"},
        "stakes": "high", "thinking_method": "", "job_id": "song-1", "job_name": "song", "attempt": 2, "size": 1,
        "total_items": 3,
    }  # fmt: skip
    assert orjson.loads(orjson.dumps(found)) == found


def test_the_scores_own_lie_over_them() -> None:
    merged = merge({"previous_outputs": {"1": "a"}, "stage": 1, "size": 2}, encode({"stage": "x", "d": {1: 2}}))
    assert merged == {"previous_outputs": {1: "a"}, "stage": "x", "size": 2, "d": {1: 2}}
    assert merge(merged, {}) == merged
