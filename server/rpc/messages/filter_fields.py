"""Fields that lists can be filtered by: how their values are written, and which operators they know."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from server.domain.addresses import address_key
from server.domain.filters import Value
from server.rpc.formats.addresses import address_or_none
from server.rpc.messages import resource_names as names

ValueT = TypeVar("ValueT", bound=Value)
_EQUALITY = ("=", "!=")
HAS = ":"

# By RFC 3339; what else the standard library's reader takes is not a time.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)


@dataclass(frozen=True, slots=True)
class Field(Generic[ValueT]):
    """A field that a list can be filtered by. `name` is its path in JSON.

    `read` makes a value of what the caller wrote; its ValueError says what that must be.
    """

    name: str
    read: Callable[[str], ValueT]
    operators: tuple[str, ...] = (*_EQUALITY, HAS)
    # May stand without operator and value: `done`.
    is_bool: bool = False
    # Always has a value, an empty one where nothing was given.
    is_plain: bool = False
    # Holds values by key: `labels.tier`.
    is_map: bool = False


def text_field(
    name: str, read: Callable[[str], str] = str, *, is_plain: bool = False
) -> Field[str]:
    """Returns a field that is a text, compared as `read` returns it."""
    return Field(name, read, is_plain=is_plain)


def address_field(name: str) -> Field[str]:
    """Returns a field that is an e-mail address, compared by `address_key`."""
    return Field(name, _read_address)


def customer_field(reseller_id: str) -> Field[str]:
    """Returns the field that names a customer of the reseller; its value is the customer's ID."""
    begins = names.name(reseller_id, names.CUSTOMERS, "")

    def read(written: str) -> str:
        id_ = written.removeprefix(begins)
        if not id_ or "/" in id_:
            raise ValueError(f"must be {begins}{{customer}}")
        return id_

    return text_field("customer", read)


def map_field(name: str) -> Field[str]:
    """Returns a field that holds texts by key."""
    return Field(name, str, is_map=True)


def time_field(name: str) -> Field[datetime]:
    """Returns a field that is a point in time, written by RFC 3339."""
    return Field(name, _read_time, (*_EQUALITY, "<", "<=", ">", ">=", HAS))


def enum_field(name: str, values: Mapping[str, ValueT]) -> Field[ValueT]:
    """Returns a field that has one of these values."""

    def read(written: str) -> ValueT:
        if written not in values:
            raise ValueError(f"must be one of {', '.join(values)}")
        return values[written]

    return Field(name, read)


def bool_field(name: str) -> Field[bool]:
    """Returns a field that is true or false."""
    return Field(name, _read_bool, is_bool=True)


def presence_field(name: str) -> Field[bool]:
    """Returns a field that can only be asked for: `error:*`."""
    return Field(name, _read_nothing, (HAS,))


def _read_nothing(written: str) -> bool:  # noqa: ARG001 - whatever it is
    raise ValueError("can only be asked for with *: whether there is one")


def _read_address(written: str) -> str:
    address = address_or_none(written)
    if address is None:
        raise ValueError("must be an e-mail address")
    return address_key(address)


def _read_time(written: str) -> datetime:
    try:
        if _TIME.fullmatch(written):
            return datetime.fromisoformat(written.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day, or before the first year
        pass
    raise ValueError("must be a time such as 2026-03-01T09:30:00Z")


def _read_bool(written: str) -> bool:
    if written.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return written.lower() == "true"
