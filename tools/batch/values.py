"""A value of a manifest as an input of a workflow takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .addresses import Input
from .drawn import fault, is_drawn

TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


def fitted(value: Any, input: Input, folder: Path) -> Any:
    """The value in the input's own type; a file as an absolute Path. ValueError says what is wrong with it.

    Texts of a table become numbers and switches. A file's path is relative to `folder`; in its place stands a described mask.
    """
    if input.file:
        return picture(value, folder)
    if input.choices is not None:
        chosen = next((choice for choice in input.choices if choice == value or str(choice) == str(value)), None)
        if chosen is None:
            raise ValueError(f"{value!r} is not offered; there are {_listed(input.choices)}")
        return chosen
    convert = CONVERSIONS.get(input.kind)
    fitting = convert(value) if convert else value
    if (input.least is not None and fitting < input.least) or (input.most is not None and fitting > input.most):
        raise ValueError(f"{fitting} is outside {input.least} to {input.most}")
    return fitting


def picture(value: Any, folder: Path) -> Path | dict:
    """A file as an absolute Path, or a described mask. ValueError says what is wrong with it."""
    if is_drawn(value):
        if found := fault(value):
            raise ValueError(found)
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is neither a file's path nor a mask (mask_runs or mask_box, and size)")
    path = folder / value
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{value!r} is not a whole number")
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a whole number") from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None
    if number - number != 0:
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if (word := str(value).lower()) in TRUE + FALSE:
        return word in TRUE
    raise ValueError(f"{value!r} is neither true nor false")


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise ValueError(f"{value!r} is not a text")
    return str(value)


def _listed(choices: tuple) -> str:
    shown = ", ".join(map(str, choices[:12]))
    return f"{shown} and {len(choices) - 12} more" if len(choices) > 12 else shown or "none"


CONVERSIONS = {"INT": _whole, "FLOAT": _number, "BOOLEAN": _switch, "STRING": _text}
