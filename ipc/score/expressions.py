"""The one expression language of scores: conditions of rules and `skip_when`.

Parsed with `ast`, run by walking a whitelist; nothing is ever compiled or executed. Sizes are bounded before they are computed.
Comparing what can never be equal (a number with text) is an error, not False: a condition never fails silently. Called when a
score is loaded (`schema`, `check`), by workers for conditions and by the coordinator for `skip_when`.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

#: Characters of an expression, at most.
MAX_LENGTH = 2000
#: Levels of nesting in it, at most.
MAX_DEPTH = 40
#: Bits of a whole number, at most.
MAX_BITS = 4096
#: Characters of a text or items of a list that an expression makes, at most.
MAX_ITEMS = 100_000
#: Steps that one evaluation may take: a value that is looked at, inside others too, is one; of a text, so many characters.
MAX_STEPS = 10_000
STEP_CHARS, STEP_ITEMS = 256, 16

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": len,
    "any": any,
    "all": all,
    "min": min,
    "max": max,
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
}
#: What `sheets[n]` and `job` have, in skip_when.
SHEET_FIELDS = ("status", "attempts", "validation_passed", "output", "error")
JOB_FIELDS = ("name", "status", "cost")
#: Names that people write for Python's constants.
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}

_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class ExpressionError(ValueError):
    """A sentence about what is wrong with the expression, naming the part. `name`: the unknown name, if that is it."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class ExpressionTooLargeError(ExpressionError):
    """It would take too long, or make too much."""


class Expression:
    """A parsed expression. Immutable; `evaluate` may be called any number of times."""

    __slots__ = ("_body", "names", "text")

    def __init__(self, text: str, body: ast.expr, names: frozenset[str]) -> None:
        self.text = text
        self.names = names
        """Variables that it needs; functions and constants are not among them."""
        self._body = body

    def __repr__(self) -> str:
        return f"<Expression {self.text!r}>"

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """Raises ExpressionError for an unknown name and for what cannot be computed or compared."""
        try:
            return _evaluate(self._body, _Scope(variables))
        except ExpressionError:
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise ExpressionError(f"cannot evaluate {self.text!r}: {error}") from None


@lru_cache(maxsize=1024)
def compile_expression(text: str) -> Expression:
    """Raises ExpressionError, naming what is not allowed and where."""
    if not isinstance(text, str) or not text.strip():
        raise ExpressionError("the expression is empty")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in texts
            # YAML blocks let a condition go over several lines.
            body = ast.parse(" ".join(text.split("\n")).strip(), mode="eval").body
    except SyntaxError as error:
        raise ExpressionError(f"cannot parse {text.strip()!r}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"cannot parse the expression: {error or 'too deeply nested'}") from None
    names: set[str] = set()
    _check(body, names, 0)
    return Expression(text.strip(), body, frozenset(names))


# ---- what is allowed ------------------------------------------------------------------------------------------------


def _check(node: ast.expr, names: set[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"the expression is nested more than {MAX_DEPTH} levels deep")
    for child in _parts(node, names):
        _check(child, names, depth + 1)


def _parts(node: ast.expr, names: set[str]) -> list[ast.expr]:
    """The operands of an allowed node; notes the names."""
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None):
            return []
        case ast.Name(id=name):
            if name not in _CONSTANTS:
                names.add(name)
            return []
        case ast.BoolOp(values=values) | ast.List(elts=values) | ast.Tuple(elts=values):
            return values
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            return [operand]
        case ast.Compare(left=left, ops=ops, comparators=others):
            if any(isinstance(op, ast.Is | ast.IsNot) for op in ops):
                raise _not_allowed(node, "use == instead of is")
            return [left, *others]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return [left, right]
        case ast.Call():
            return _call_parts(node)
        case ast.Attribute(value=value, attr=attr):
            return [_field_owner(node, value, attr)]
        case ast.Subscript(value=value, slice=ast.expr() as index) if not isinstance(index, ast.Slice):
            return [value, index]
    raise _not_allowed(node)


def _call_parts(node: ast.Call) -> list[ast.expr]:
    if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        raise _not_allowed(node, "functions take plain arguments only")
    match node.func:
        case ast.Name(id=name) if name in FUNCTIONS:
            return node.args
        case ast.Attribute(value=ast.Name(id="sheets") as sheets, attr="get") if len(node.args) == 1:
            return [sheets, *node.args]
    raise _not_allowed(node, f"the functions are {', '.join(FUNCTIONS)} and sheets.get(n)")


def _field_owner(node: ast.expr, value: ast.expr, attr: str) -> ast.expr:
    match value:
        case ast.Name(id="job") if attr in JOB_FIELDS:
            return value
        case ast.Name(id="job"):
            raise ExpressionError(f"job has no {attr!r}, it has {', '.join(JOB_FIELDS)}", attr)
        case ast.Subscript(value=ast.Name(id="sheets")) | ast.Call(func=ast.Attribute(value=ast.Name(id="sheets"))):
            if attr in SHEET_FIELDS:
                return value
            raise ExpressionError(f"a sheet has no {attr!r}, it has {', '.join(SHEET_FIELDS)}", attr)
    raise _not_allowed(node, "attributes exist of sheets[n] and job only")


def _not_allowed(node: ast.expr, why: str = "") -> ExpressionError:
    text = ast.unparse(node)
    text = text if len(text) <= 60 else text[:59] + "…"
    return ExpressionError(f"{text!r} is not allowed in an expression{': ' if why else ''}{why}")


# ---- its value ------------------------------------------------------------------------------------------------------


class _Scope:
    """What one evaluation sees, and how much it may still do. Charged before it is done: the time to say no is bounded, too."""

    __slots__ = ("left", "variables")

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.left = MAX_STEPS

    def charge(self, steps: int, node: ast.expr) -> None:
        self.left -= steps
        if self.left < 0:
            raise ExpressionTooLargeError(f"{_short(node)!r} is too large to compute")


def _weigh(value: Any, most: int) -> int:
    """How many values there are in it, itself included, as often as they are repeated; counted no further than `most`."""
    weight, waiting = 0, [value]
    while waiting and weight <= most:
        one = waiting.pop()
        weight += 1
        kind = type(one)
        if kind is str:
            weight += len(one) // STEP_CHARS
        elif kind in (list, tuple, dict):
            if len(one) > most - weight:
                return most + 1
            waiting += one
            if kind is dict:
                waiting += one.values()
        elif isinstance(one, Mapping):
            weight += len(one) * 8  # made as they are asked for
    return weight


def _short(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 200 else text[:199] + "…"


def _evaluate(node: ast.expr, scope: _Scope) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return _lookup(name, scope)
        case ast.BoolOp(op=op, values=values):
            return _bool_op(isinstance(op, ast.And), values, scope)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, scope)
        case ast.UnaryOp(op=op, operand=operand):
            value = _number(_evaluate(operand, scope), node)
            return -value if isinstance(op, ast.USub) else +value
        case ast.Compare():
            return _compare(node, scope)
        case ast.BinOp(left=left, op=op, right=right):
            return _arithmetic(type(op), _evaluate(left, scope), _evaluate(right, scope), node, scope)
        case ast.List(elts=items):
            return [_evaluate(item, scope) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_evaluate(item, scope) for item in items)
        case ast.Call():
            return _call(node, scope)
        case ast.Attribute(value=owner, attr=attr):
            return _field(_evaluate(owner, scope), attr, node)
        case ast.Subscript(value=owner, slice=index):
            return _item(_evaluate(owner, scope), _evaluate(index, scope), node)
    raise _not_allowed(node)


def _lookup(name: str, scope: _Scope) -> Any:
    if name in scope.variables:
        return scope.variables[name]
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    raise ExpressionError(f"unknown name {name!r}", name)


def _bool_op(is_and: bool, values: list[ast.expr], scope: _Scope) -> Any:
    value: Any = is_and
    for operand in values:
        value = _evaluate(operand, scope)
        if bool(value) is not is_and:
            return value
    return value


def _compare(node: ast.Compare, scope: _Scope) -> bool:
    left = _evaluate(node.left, scope)
    for op, other in zip(node.ops, node.comparators, strict=True):
        right = _evaluate(other, scope)
        if not _holds(type(op), left, right, node, scope):
            return False
        left = right
    return True


def _holds(op: type[ast.cmpop], left: Any, right: Any, node: ast.expr, scope: _Scope) -> bool:
    if op in (ast.In, ast.NotIn):
        return _contains(right, left, node, scope) is (op is ast.In)
    # Two values are compared no further than the smaller one goes.
    scope.charge(_weigh(left, _weigh(right, scope.left)), node)
    same_kind = _kind(left) == _kind(right)
    if op in (ast.Eq, ast.NotEq):
        if not same_kind and left is not None and right is not None:
            raise _impossible(left, right, node)
        return bool(left == right) is (op is ast.Eq)
    if not same_kind or _kind(left) not in ("a number", "text", "a list"):
        raise _impossible(left, right, node)
    return bool(_ORDER[op](left, right))


def _contains(container: Any, item: Any, node: ast.expr, scope: _Scope) -> bool:
    kind = _kind(container)
    if kind == "text":
        if not isinstance(item, str):
            raise _impossible(item, container, node)
        return item in container
    if kind not in ("a list", "a map"):
        raise _impossible(item, container, node)
    if isinstance(container, Mapping) and not isinstance(container, dict):
        if not isinstance(item, int | float | None):
            raise _impossible(item, container, node)
        return item in container
    scope.charge(_weigh(list(container) if kind == "a map" else container, scope.left), node)
    kinds = {_kind(member) for member in container}
    if kinds and item is not None and _kind(item) not in kinds:
        raise ExpressionError(f"{ast.unparse(node)!r} looks for {_kind(item)} among {' and '.join(sorted(kinds))}")
    return item in container


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a map" if isinstance(value, Mapping) else "a list"


def _impossible(left: Any, right: Any, node: ast.expr) -> ExpressionError:
    return ExpressionError(f"{ast.unparse(node)!r} compares {_kind(left)} with {_kind(right)}")


def _number(value: Any, node: ast.expr) -> Any:
    if not isinstance(value, int | float):
        raise ExpressionError(f"{ast.unparse(node)!r} needs a number, found {_kind(value)}")
    return value


def _arithmetic(op: type[ast.operator], left: Any, right: Any, node: ast.expr, scope: _Scope) -> Any:
    kinds = {_kind(left), _kind(right)}
    joins = op is ast.Add and len(kinds) == 1 and kinds <= {"text", "a list"} and type(left) is type(right)
    repeats = op is ast.Mult and "a number" in kinds and len(kinds) == 2 and kinds <= {"a number", "text", "a list"}
    if not joins and not repeats and kinds != {"a number"}:
        raise ExpressionError(f"{ast.unparse(node)!r} computes with {_kind(left)} and {_kind(right)}")
    size = _size(op, left, right, joins, repeats)
    if size > (MAX_ITEMS if joins or repeats else MAX_BITS):
        raise ExpressionTooLargeError(f"{_short(node)!r} is too large to compute")
    scope.charge(1 + max(0, size) // STEP_ITEMS if joins or repeats else 1, node)
    value = _ARITHMETIC[op](left, right)
    if isinstance(value, complex):
        raise ExpressionError(f"{ast.unparse(node)!r} has no real value")
    return value


def _size(op: type[ast.operator], left: Any, right: Any, joins: bool, repeats: bool) -> int:
    """How large the result can be: items of a list or text, bits of a whole number; floats stay small."""
    if joins:
        return len(left) + len(right)
    if repeats:
        times, items = (left, right) if isinstance(left, int | float) else (right, left)
        return int(times) * len(items)
    if isinstance(left, float) or isinstance(right, float):
        return 0
    bits = int(left).bit_length(), int(right).bit_length()
    if op is ast.Pow:
        return bits[0] * max(int(right), 0) if bits[0] > 1 else 1
    return sum(bits) if op is ast.Mult else max(bits) + 1


def _call(node: ast.Call, scope: _Scope) -> Any:
    arguments = [_evaluate(argument, scope) for argument in node.args]
    if isinstance(node.func, ast.Attribute):
        return _lookup("sheets", scope).get(arguments[0])
    assert isinstance(node.func, ast.Name)
    if any(isinstance(argument, str) and len(argument) > 4000 for argument in arguments) and node.func.id == "int":
        raise ExpressionTooLargeError(f"{_short(node)!r} is too large to compute")
    if node.func.id not in ("len", "bool"):
        scope.charge(sum(_weigh(argument, scope.left) for argument in arguments), node)
    return FUNCTIONS[node.func.id](*arguments)


def _field(owner: Any, attr: str, node: ast.expr) -> Any:
    if owner is None:
        raise ExpressionError(f"{ast.unparse(node)!r}: there is no such sheet")
    return owner[attr]


def _item(owner: Any, index: Any, node: ast.expr) -> Any:
    try:
        return owner[index]
    except (LookupError, TypeError):
        raise ExpressionError(f"{ast.unparse(node)!r}: there is no such item") from None
