"""What the frozen dataclasses that a user passes to a fit share: checked fields, and a form for files."""

import dataclasses
from typing import Any, cast

import fastnn


class Option:
    """The base of those dataclasses; their `__post_init__` checks the fields."""

    def _set(self, **fields: object) -> None:
        """Write checked values back, which a frozen dataclass refuses to the usual assignment."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)


def to_dict(option: Option) -> dict[str, Any]:
    """Describe one of fastnn's options by its class's name and its fields, ready for JSON.

    Raises
    ------
    TypeError
        If its class, or that of an option in one of its fields, is a user's own: no file could bring it back.
    """
    if _class(type(option).__name__) is not type(option):
        raise TypeError(f"only fastnn's own options can be saved; got {option!r}")
    fields = {field.name: getattr(option, field.name) for field in dataclasses.fields(cast(Any, option))}
    return {"class": type(option).__name__} | {
        name: to_dict(value) if isinstance(value, Option) else value for name, value in fields.items()
    }


def from_dict(description: object) -> Any:
    """Build the option that `to_dict` described.

    Raises
    ------
    ValueError
        If the description is not one of an option, or the class refuses its fields.
    """
    cls = _class(description.get("class")) if isinstance(description, dict) else None
    if not isinstance(description, dict) or cls is None:
        raise ValueError(f"{description!r} describes none of fastnn's options")
    fields = {
        name: from_dict(value) if isinstance(value, dict) else value
        for name, value in description.items()
        if name != "class"
    }
    try:
        return cls(**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{description!r} describes none of fastnn's options: {error}") from None


def _class(name: object) -> type[Option] | None:
    """Return fastnn's own option of this name, if there is one."""
    value = getattr(fastnn, name) if isinstance(name, str) and name in fastnn.__all__ else None
    return value if isinstance(value, type) and issubclass(value, Option) else None
