"""A control for every field of the settings, and what is typed into it as a value.

The workbench's page draws what `control` describes; nothing here knows the page. What kind of control a field has
follows from the field alone, so that a setting added to `SamplingConfig` has one at once:

    choices                     a menu of them
    default None                a menu of the hinted values, whose first entry leaves the setting to the default
    hint ``span``               a slider
    any other number or text    a box

Values go to the page and come back as text, as in a link: a seed of 64 bits is more than JavaScript's numbers hold.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import Field, fields
from types import UnionType
from typing import Any, get_args, get_type_hints

from ..pipelines.config import SamplingConfig

DEFAULT = "default"  # what a setting that may be None is called then
READERS = {int: int, float: float, str: str}
WANTED = {int: "a whole number", float: "a number", str: "text"}


def shown_fields(config: type[SamplingConfig] | SamplingConfig, *, lacking: Collection[str] = ()) -> list[Field]:
    """The fields that change what a picture shows; the others change how fast it is made.

    Parameters
    ----------
    lacking : "draft", "students", what the model does not have; the fields that need it are left out
    """

    def counts(field: Field) -> bool:
        hints = field.metadata.get("control") or {}
        return not hints.get("hidden") and hints.get("needs") not in lacking

    return [field for field in fields(config) if counts(field)]


def control(field: Field, value: object) -> dict[str, Any]:
    """What a page needs to know to draw the control of a field.

    Parameters
    ----------
    field : of a configuration
    value : that it has now

    Returns
    -------
    name, label, help, value as text, and kind: "menu" with its options, "slider" with min, max and step, or "box"
    """
    hints = field.metadata.get("control") or {}
    shown = {"name": field.name, "label": hints.get("label", field.name.replace("_", " ")), "value": write(value)}
    shown["help"] = field.metadata.get("help", "")
    if choices := field.metadata.get("choices"):
        return shown | {"kind": "menu", "options": list(choices)}
    if isinstance(value, bool):
        return shown | {"kind": "menu", "options": [write(False), write(True)]}
    if field.default is None:
        values = dict.fromkeys(write(entry) for entry in (None, *hints.get("values", ()), value))
        return shown | {"kind": "menu", "options": list(values)}
    if span := hints.get("span"):
        low, high, step = span
        return shown | {"kind": "slider", "min": min(low, value), "max": max(high, value), "step": step}
    return shown | {"kind": "box"}


def write(value: object) -> str:
    """A value as a page and a link hold it.

    >>> write(None), write(True), write(0.5)
    ('default', 'true', '0.5')
    """
    if value is None:
        return DEFAULT
    return str(value).lower() if isinstance(value, bool) else str(value)


def read(name: str, text: str, config: type[SamplingConfig] = SamplingConfig) -> Any:
    """The value of a field out of text; whether the field takes it is for the configuration to say.

    Raises
    ------
    ValueError
        If there is no such field, or the text is no value of its type.

    >>> read("eta", "0.5"), read("eta", "default")
    (0.5, None)
    >>> read("seed", "")
    Traceback (most recent call last):
    ValueError: expected seed to be a whole number, got ''
    """
    names = [field.name for field in shown_fields(config)]
    if name not in names:
        raise ValueError(f"expected a setting among {', '.join(names)}, got {name!r}")
    hint = get_type_hints(config)[name]
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if type(None) in kinds and text == DEFAULT:
        return None
    if bool in kinds and text in ("true", "false"):
        return text == "true"
    kind = next((kind for kind in kinds if kind in READERS), None)
    if kind is None:
        raise ValueError(f"expected {name} to be true or false, got {text!r}")
    try:
        return READERS[kind](text)
    except ValueError:
        raise ValueError(f"expected {name} to be {WANTED[kind]}, got {text!r}") from None
