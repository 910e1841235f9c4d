"""A model whose features are somebody's own columns: what a request must hold, and the vector of it.

It comes in an artefact's `columns.json`, so that one service can serve models of any tabular data:

    number      a number; where the column held a few words among numbers, those are codes with a feature each
    category    one of the words that training saw, each with a feature of its own; seldom ones share none
    flag        true or false

Nothing but the identifier must be there: null and absent are missing, and missing is nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import ConfigDict, Field, create_model
from typing_extensions import TypedDict

from scoregate.values import frozen

FILE: Final = "columns.json"
KEY: Final = "application_id"
LONGEST: Final = 200

Number = Annotated[float, Field(allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=LONGEST)]

_ONLY_THESE: Final = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


@frozen
class Column:
    """One column. `words` have features of their own; `closed`: training saw no others."""

    name: str
    kind: Literal["number", "category", "flag"]
    feature: str
    words: tuple[str, ...] = ()
    closed: bool = True

    @property
    def features(self) -> tuple[str, ...]:
        """Names in matrix order: the number itself first, then a name for each word."""
        own = () if self.kind == "category" else (self.feature,)
        return own + tuple(f"{self.feature}={plain(word)}" for word in self.words)

    def values(self, said: float | bool | str | None) -> Iterator[float]:
        """Yield the features of one value."""
        is_word = isinstance(said, str)
        if self.kind != "category":
            yield math.nan if said is None or isinstance(said, str) else float(said)
            for word in self.words:
                yield math.nan if said is None else float(is_word and said == word)
            return
        for word in self.words:
            yield math.nan if said is None else float(said == word)

    def usual(self, medians: Mapping[str, float | None]) -> float | bool | str | None:
        """Return a value that is nobody's: the median of numbers, the most frequent word, a flag that is not set."""
        if self.kind == "number":
            return medians.get(self.feature)
        return next(iter(self.words), None) if self.kind == "category" else False

    def type(self) -> Any:
        """Return what JSON may say of it."""
        if self.kind == "flag":
            return bool | None
        words: Any = Literal[self.words] if self.closed and self.words else Word
        if self.kind == "category":
            return words | None
        return Number | words | None if self.words else Number | None


class Tabular:
    """The columns of one model: a service's `features.py` and `contract.py` in one."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns
        self.FEATURES = tuple(feature for column in columns for feature in column.features)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Tabular:
        return cls(tuple(Column(**{**one, "words": tuple(one["words"])}) for one in raw["columns"]))

    def as_json(self) -> dict[str, Any]:
        return {"format": 1, "columns": [asdict(column) for column in self.columns]}

    def entities(self, request: Any, hashed: Callable[[str, str], str]) -> dict[str, str]:
        """Return no keys: everything comes with the request."""
        return {}

    def vector(self, request: Any, row: Any, at_s: float) -> list[float]:
        """Return FEATURES of a request in their order; nan where nothing is said."""
        return self.of(request.facts)

    def of(self, facts: Mapping[str, Any]) -> list[float]:
        return [value for column in self.columns for value in column.values(facts.get(column.name))]

    def example(self, medians: Mapping[str, float | None]) -> dict[str, Any]:
        """Return a request of nobody, in which all is as usual; `medians` by feature."""
        said = {column.name: column.usual(medians) for column in self.columns}
        return {KEY: "example-1", "facts": {name: value for name, value in said.items() if value is not None}}

    def request_type(self, base: Any, identifier: Any) -> Any:
        """Return the type of a request: `base` (what every request has), the identifier, and `facts` by column."""
        fields = {column.name: NotRequired[column.type()] for column in self.columns}  # type: ignore[misc]
        # By calls alone: the names are known at run time, and to no type checker.
        make: Any = TypedDict
        facts = make("GivenColumns", fields)
        facts.__pydantic_config__ = _ONLY_THESE
        said = "By the names of the columns that the model was trained on; what is absent or null is missing."
        asked: Any = {KEY: (identifier, ...), "facts": (facts, Field(description=said))}
        make = create_model
        request = make("Request", __base__=base, **asked)
        request.NATURAL_KEY, request.PERSONAL = KEY, frozenset()
        return request


def plain(name: str) -> str:
    """Return a name as forests take it: no brackets, no comparison, and no sign in front."""
    text = name.replace("[", "(").replace("]", ")").replace("<", "below ")
    return f"_{text}" if text[:1] in "+-" else text
