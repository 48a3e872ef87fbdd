"""What the fields of a score may hold, each kind with the sentence that refuses anything else; and what a section of fields is.

Kinds of values alone: which field is of which is `schema`'s and `optional`'s to say.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from ipc.score.variables import decode, encode

#: No control characters, and something to see.
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "must be a number")
    return value


def int_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found: dict[Any, Any] = {}
    for key, item in value.items():
        number = int(key) if isinstance(key, str) and key.isdecimal() else key
        if number in found:
            raise PydanticCustomError("twice", "names {key} twice, as a number and as text", {"key": number})
        found[number] = item
    return found


def _text_values(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _as_text(item) for key, item in value.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def text_or_texts(value: Any) -> Any:
    """Told here, because pydantic would tell what is wrong with it as a list and as text."""
    if value is not None and not isinstance(value, str | list):
        raise PydanticCustomError("command_type", "must be a string or a list of strings")
    for item in value if isinstance(value, list) else ():
        if not isinstance(item, str):
            raise PydanticCustomError(
                "command_type", "must be a list of strings; quote {item}", {"item": str(item)[:40]}
            )
    for text in value if isinstance(value, list) else filter(None, [value]):
        _whole_text(text)
    return value


def _whole_text(value: str) -> str:
    if found := _NOT_TEXT.search(value):
        what = "a NUL character" if found[0] == "\0" else "half a surrogate pair, which is no character"
        raise PydanticCustomError("text", "must not contain {what}", {"what": what})
    return value


def _folder_inside(value: str) -> str:
    if os.path.isabs(value) or ".." in value.split("/") or os.path.normpath(value) == ".":
        raise PydanticCustomError("folder", "must be a folder inside the workspace")
    return value


def regex(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise PydanticCustomError("V007", "is not a regular expression: {error}", {"error": str(error)}) from None
    return value


Int = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool), Field(allow_inf_nan=False)]
Count = Annotated[Int, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Seconds = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Text = Annotated[str, AfterValidator(_whole_text)]
Folder = Annotated[Text, AfterValidator(_folder_inside)]
Regex = Annotated[Text, AfterValidator(regex)]
TextMap = Annotated[dict[Text, Text], BeforeValidator(_text_values)]
Variables = Annotated[dict[str, Any], BeforeValidator(decode), PlainSerializer(encode, when_used="json")]


#: What a check between fields found: code, field below the section, message, hint.
Fault = tuple[str, tuple[str | int, ...], str, str]


class Section(BaseModel):
    # Built when first used: only what is validated by itself costs a validator of its own, which `Score` alone mostly is.
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), defer_build=True)


def defaults() -> Any:
    """A section that need not be written. Its defaults are made by the enclosing section's validator."""
    return Field(default_factory=dict, validate_default=True)


def fail(faults: list[Fault]) -> None:
    """Raise them all as one error; `load` takes it apart."""
    if faults:
        raise PydanticCustomError("faults", "{message}", {"message": faults[0][2], "faults": faults})
