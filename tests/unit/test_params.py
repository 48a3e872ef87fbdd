"""A request's parameters: what is read has its type, what is not read is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mozartd.coordinator.params import InvalidParamsError, Params

Read = Callable[[Params], Any]

READERS: dict[str, Read] = {
    "text": lambda params: params.text("x"),
    "text_or": lambda params: params.text_or("x", "default"),
    "flag": lambda params: params.flag("x"),
    "whole": lambda params: params.whole("x"),
    "integer": lambda params: params.integer("x"),
    "seconds": lambda params: params.seconds("x"),
    "mapping": lambda params: params.mapping("x"),
    "texts": lambda params: params.texts("x"),
    "wholes": lambda params: params.wholes("x"),
}

#: What JSON can hold; each reader takes one kind of it.
VALUES: list[Any] = [
    "a",
    "",
    True,
    False,
    0,
    1,
    1.5,
    0.0,
    {},
    {"a": 1},
    [],
    ["a"],
    [1],
    [True],
    ["a", 1],
    [1.0],
    -1,
    -1.5,
    2**63,
]

TAKES: dict[str, list[Any]] = {
    "text": ["a", ""],
    "text_or": ["a", ""],
    "flag": [True, False],
    "whole": [0, 1],
    "integer": [0, 1, -1],
    "seconds": [0, 1, 1.5, 0.0, 1e11],
    "mapping": [{}, {"a": 1}],
    "texts": [[], ["a"]],
    "wholes": [[], [1]],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_reader_takes_its_kind_and_refuses_the_rest(reader: str, value: Any) -> None:
    params = Params({"x": value})
    # By their texts, because True is 1 and 1.0 is 1.
    if repr(value) in map(repr, TAKES[reader]):
        assert READERS[reader](params) == value
        params.finish()
    else:
        with pytest.raises(InvalidParamsError, match="cannot use x = "):
            READERS[reader](params)


@pytest.mark.parametrize(
    ("reader", "absent"),
    [
        ("text_or", "default"),
        ("flag", False),
        ("whole", None),
        ("seconds", None),
        ("mapping", {}),
        ("texts", []),
        ("wholes", []),
    ],
)
def test_what_is_absent_has_a_default(reader: str, absent: Any) -> None:
    assert READERS[reader](Params({})) == absent


@pytest.mark.parametrize("reader", ["whole", "seconds", "texts", "wholes"])
def test_null_is_absent(reader: str) -> None:
    params = Params({"x": None})
    assert not READERS[reader](params)
    params.finish()


def test_a_text_that_must_be_there() -> None:
    with pytest.raises(InvalidParamsError, match="cannot use x = None: it must be text"):
        Params({}).text("x")


def test_other_defaults() -> None:
    assert Params({}).flag("x", True) is True
    assert Params({}).whole("x", 7) == 7


def test_a_default_that_may_change_is_not_shared() -> None:
    Params({}).mapping("x")["a"] = 1
    assert Params({}).mapping("x") == {}


def test_what_nobody_asked_for_is_refused_by_name() -> None:
    params = Params({"job": "a", "sheets": [1], "all": True})
    params.text("job")
    with pytest.raises(InvalidParamsError, match="cannot use the parameter 'all': it is not known"):
        params.finish()


@pytest.mark.parametrize("values", [[], "text", 1, True])
def test_params_are_an_object(values: Any) -> None:
    with pytest.raises(InvalidParamsError, match="not an object"):
        Params(values)


def test_the_callers_object_stays_whole() -> None:
    values = {"x": 1}
    Params(values).whole("x")
    assert values == {"x": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(list(READERS)), JSON)
def test_anything_is_taken_or_refused(reader: str, value: Any) -> None:
    sentence = "cannot use x"
    try:
        READERS[reader](Params({"x": value}))
    except InvalidParamsError as error:
        sentence = str(error)
    assert sentence.startswith("cannot use x")


def test_a_huge_value_gives_no_huge_sentence() -> None:
    with pytest.raises(InvalidParamsError) as caught:
        Params({"x": "y" * 1_000_000}).flag("x")
    assert len(str(caught.value)) < 500
