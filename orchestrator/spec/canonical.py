"""Values in canonical form: what enters a trial's key, and how randomness gets its names.

A setting may hold only a closed set of types, so that every value has exactly one JSON form on
every machine and every Python: None, bool, int, float, str, tuples, frozensets, literals, methods
and networks. `1` and `1.0` are one value where a float is declared; NaN and infinities are refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

SCALARS = (bool, int, float, str, type(None))


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text on every machine. Raises ValueError for
    NaN and infinities.
    """
    # ASCII and fixed separators: the text is hashed, so not a space may differ.
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def digest(value: Any) -> str:
    """SHA-256 (64 hex digits) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def derive(*names: str | int | None) -> int:
    """A 63-bit seed named by its parts, such as `derive(seed, "joint", epoch)`. Equal names give
    equal seeds; names that differ in anything give independent ones.
    """
    hashed = hashlib.sha256(canonical_json(list(names)).encode("ascii")).digest()
    return int.from_bytes(hashed[:8], "big") >> 1  # torch's generators take 63 bits


def describe(kind: Any) -> str:
    """A declared type in words, for messages: `one of 'a', 'b'`, `int or None`."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(repr(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in args)
    if origin is tuple:
        return f"a tuple of {describe(args[0]) if _is_of_any_length(args) else len(args)}"
    if origin is frozenset:
        return f"a set of {describe(args[0])}"
    if kind is type(None):
        return "None"
    return str(getattr(kind, "__name__", kind))


def unsupported(kind: Any) -> str | None:
    """Why a declared type cannot be a setting's, or None if it can."""
    origin, args = get_origin(kind), get_args(kind)
    if kind in SCALARS or is_method_type(kind) or is_network_type(kind):
        return None
    if origin is Literal:
        wrong = [a for a in args if not isinstance(a, SCALARS)]
        return f"{wrong} in a Literal" if wrong else None
    if origin in (Union, types.UnionType, frozenset) or (origin is tuple and args):
        reasons = [unsupported(a) for a in args if a is not Ellipsis]
        return next(filter(None, reasons), None)
    return (
        f"{kind!r}: use bool, int, float, str, None, Literal, tuple[...], frozenset[...], "
        "a Method or a NetworkSpec"
    )


def _is_of_any_length(args: tuple[Any, ...]) -> bool:
    """Whether the arguments of a tuple type are those of `tuple[T, ...]`."""
    return len(args) == 2 and args[1] is Ellipsis


def is_method_type(kind: Any) -> bool:
    """Whether a declared type is a Method: known by what it has, because methods import this."""
    return isinstance(kind, type) and hasattr(kind, "identity") and hasattr(kind, "canonical")


def is_network_type(kind: Any) -> bool:
    """Whether a declared type is a NetworkSpec: known by what it has, as a Method is."""
    return isinstance(kind, type) and hasattr(kind, "identity") and hasattr(kind, "splits")


def coerce(value: Any, kind: Any) -> Any:
    """The value as one of the declared type `kind`: `coerce(1, float)` is `1.0`. Raises ValueError
    that says what was expected.
    """
    origin, args = get_origin(kind), get_args(kind)
    if is_method_type(kind) or is_network_type(kind):
        if isinstance(value, kind):
            return value
        raise _mismatch(value, kind)
    if origin is Literal:
        for allowed in args:
            # True == 1 in Python
            if value == allowed and isinstance(value, bool) == isinstance(allowed, bool):
                return allowed
        raise _mismatch(value, kind)
    if origin in (Union, types.UnionType):
        return _coerce_union(value, kind, args)
    if origin is tuple:
        return _coerce_tuple(value, kind, args)
    if origin is frozenset:
        # A string would be a set of letters.
        if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
            raise ValueError(
                f"expected {describe(kind)}, written ({value!r},), "
                f"got {value!r} ({type(value).__name__})"
            )
        return frozenset(coerce(v, args[0]) for v in value)
    return _coerce_scalar(value, kind)


def _coerce_union(value: Any, kind: Any, args: tuple[Any, ...]) -> Any:
    # The very type of the value comes first: with `float | int`, 1 stays an int.
    exact = [a for a in args if isinstance(a, type) and get_origin(a) is None and type(value) is a]
    for option in [*exact, *args]:
        try:
            return coerce(value, option)
        except ValueError:
            continue
    raise _mismatch(value, kind)


def _coerce_tuple(value: Any, kind: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _mismatch(value, kind)
    if _is_of_any_length(args):
        return tuple(coerce(v, args[0]) for v in value)
    if len(value) != len(args):
        raise _mismatch(value, kind)
    return tuple(coerce(v, a) for v, a in zip(value, args, strict=True))


def _coerce_scalar(value: Any, kind: Any) -> Any:
    if kind is type(None) and value is None:
        return None
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return str(value)
    if isinstance(value, bool):  # a bool is an Integral, but nobody means 1 by True
        raise _mismatch(value, kind)
    if kind is int and isinstance(value, numbers.Integral):  # numpy's integers, too
        return int(value)
    if kind is float and isinstance(value, numbers.Real):
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"expected a finite float, got {value!r}")
        return number + 0.0  # -0.0 and 0.0 are one value
    raise _mismatch(value, kind)


def _mismatch(value: Any, kind: Any) -> ValueError:
    return ValueError(f"expected {describe(kind)}, got {value!r} ({type(value).__name__})")


def to_json(value: Any) -> Any:
    """A coerced setting as plain JSON; sets become sorted lists, methods their `to_json()`."""
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, frozenset):
        # A set has no order, a key needs one.
        return sorted((to_json(v) for v in value), key=canonical_json)
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if is_method_type(type(value)) or is_network_type(type(value)):
        return value.to_json()
    raise TypeError(f"{value!r} has no canonical form")


def is_number(value: object) -> bool:
    """Whether a value is an int or a float; a truth value is neither, though Python has it so."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_same(one: Any, other: Any) -> bool:
    """Whether two settings are one. `1` and `1.0` are, `1` and `True` are not, though Python has
    all of them equal: `norm=True` and `norm=1` may be two networks.
    """
    return bool(one == other) and _truths_in(one) == _truths_in(other)


def _truths_in(value: Any) -> Any:
    """Where in a setting there are truth values; the same for settings that are equal and differ in
    none of them.
    """
    if isinstance(value, Mapping):
        return {name: _truths_in(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_truths_in(inner) for inner in value]
    if isinstance(value, frozenset):
        return sum(isinstance(inner, bool) for inner in value)
    if dataclasses.is_dataclass(value):  # a method or a network
        return [_truths_in(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return isinstance(value, bool)


def show(value: Any) -> str:
    """A setting's value as people read it in tables: `rotation+common`, `none`, `0.1`."""
    if isinstance(value, frozenset):
        return "+".join(sorted(show(v) for v in value)) or "none"
    if isinstance(value, tuple | list):
        return ",".join(show(v) for v in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    return str(getattr(value, "label", value))


def type_hints(cls: type) -> dict[str, Any]:
    """The annotations of a class as types. Raises NameError where one names what its module does
    not have.
    """
    return typing.get_type_hints(cls)
