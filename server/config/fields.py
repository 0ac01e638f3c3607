"""Kinds of settings that several subjects have."""

from typing import Annotated

from pydantic import Field
from pydantic.config import JsonDict

Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=10**9)]
# 0 for none.
Limit = Annotated[int, Field(ge=0, le=10**9)]
# Holds a password: `settings` hides it, and a file can hold it, whose path stands in …_FILE.
SECRET: JsonDict = {"secret": True}


def listed(text: str) -> list[str]:
    """Returns the parts of a list that commas separate."""
    return [each.strip() for each in text.split(",") if each.strip()]
