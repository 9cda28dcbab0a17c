"""What a person should know about a key of a manifest; which keys there are, ``schema`` says.

Called by ``schema``, by which all of it is to be had.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

__all__ = ["Key", "Mode"]


class Mode(enum.StrEnum):
    """What kind of run a section or key has an effect in."""

    BOTH = "both"
    FLAT = "flat"
    HIERARCHICAL = "hierarchical"


@dataclass(frozen=True, slots=True)
class Key:
    """What a person should know about a key beyond its type; pydantic carries it in the field's metadata."""

    help: str
    mode: Mode = Mode.BOTH
    form: str = ""
    """The form field to use where the type alone does not tell: ``path`` or ``long_text``."""
    default: str = ""
    """The default in words, where it depends on other things."""
    bounds: str = ""
    """The range in words, for error texts; empty means the bound that was broken says enough."""
    noun: str = ""
    """What a wrong value of an enumeration is called in errors; empty means the key's own name."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Put the help and the mode where editors look for them."""
        schema = handler(core_schema)
        schema["description"] = self.help
        if self.mode is not Mode.BOTH:
            schema["x-mode"] = self.mode.value
        return schema
