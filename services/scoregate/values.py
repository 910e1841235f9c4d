"""Values: classes of fields that nobody sets once they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[Class]) -> type[Class]:
    """Make a dataclass with slots that is frozen to whoever checks types, and costs no more for it.

    `dataclass(frozen=True)` guards every field of every object at runtime: one takes four times as long to make, and a
    decision makes forty. What no reviewer sees, such as an assignment to a field, the type checker does.
    """
    make: Callable[[type[Class]], type[Class]] = dataclass(slots=True, unsafe_hash=True)
    return make(cls)
