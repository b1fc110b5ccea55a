"""Options made of a settings class: its fields, with their defaults, and what its docstring says of each."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, get_type_hints

import typer

__all__ = ["command_of"]

_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")


def command_of(function: Callable[..., None], *groups: type, skip: Sequence[str] = ()) -> Callable[..., None]:
    """A command with the parameters of a function and the fields of its settings.

    Args:
        function: takes one instance of each group first, then what it names by keyword.
        groups: dataclasses with an `Attributes` section; a field that several have is one option for all, and one that
            the function names itself is left to that.
        skip: fields and parameters that are no options: they keep their defaults.
    """
    given = [p for p in list(inspect.signature(function).parameters.values())[len(groups) :] if p.name not in skip]
    hints = get_type_hints(function, include_extras=True)
    parameters = [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in given]
    own = {p.name for p in parameters}
    named = own | set(skip)
    for group in groups:
        parameters += [p for p in _options(group) if p.name not in named]
        named |= {p.name for p in parameters}

    def command(**values: Any) -> None:
        made = [
            group(**{f.name: values[f.name] for f in fields(group) if f.name in values.keys() - own})
            for group in groups
        ]
        function(*made, **{p.name: values[p.name] for p in given})

    command.__doc__, command.__name__ = function.__doc__, function.__name__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _options(group: type) -> list[inspect.Parameter]:
    hints, told = get_type_hints(group), _described(group)
    return [_option(field, hints[field.name], told[field.name]) for field in fields(group)]


def _option(field: "Field[Any]", kind: Any, told: str) -> inspect.Parameter:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    shown = default is not None and default != []
    option = typer.Option(help=told[:1].upper() + told[1:], show_default=shown)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else default,
        annotation=Annotated[kind, option],
    )


def _described(group: type) -> dict[str, str]:
    """What the docstrings of a class and of those it is made of say of their attributes; its own come first."""
    told: dict[str, str] = {}
    for part in reversed(group.__mro__):
        _, _, attributes = inspect.cleandoc(part.__doc__ or "").partition("Attributes:\n")
        names: list[str] = []
        for line in attributes.splitlines():
            if found := _ATTRIBUTE.match(line):
                names = found[1].split(", ")
                told |= dict.fromkeys(names, found[2])
            elif line.strip():
                told |= {name: f"{told[name]} {line.strip()}" for name in names}
    return told
