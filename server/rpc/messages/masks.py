"""Masks of the fields to set, read by one rule for all: https://google.aip.dev/134 and 161.

A field is named as in the proto or as in JSON, a part of it behind a dot, and so is a key of a map, in
backticks if need be. `*` stands for all, and alone. What the service alone sets can't be named.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from google.protobuf import field_mask_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from server.domain.errors import FieldViolation, invalid_field, invalid_fields
from server.domain.texts import printable

FIELD = "update_mask"
_LONGEST_SHOWN = 50
_MOST_NAMED = 3


class Path(NamedTuple):
    """A field by its name in the proto, and the part or the key of it that is named; None: all of it."""

    field: str
    part: str | None = None


# What `*` is read as.
ALL = Path("*")


def read_mask(
    mask: field_mask_pb2.FieldMask,
    resource: Descriptor,
    settable: Sequence[str],
    known: Collection[str] = (),
) -> list[Path]:
    """Returns what a mask names, each once; nothing where there is none, ALL by itself for all.

    `known` are fields that may be named beside those to set. Raises FIELDS_INVALID.
    """
    names = set(mask.paths)
    if ALL.field in names:
        if len(names) > 1:
            raise invalid_field(FIELD, "* stands for all fields: name no other beside it.")
        return [ALL]
    found: dict[Path, None] = {}
    wrong: list[FieldViolation] = []
    for name in mask.paths:
        path = _path(name, resource)
        if path is None:
            ours, in_json = (
                _unknown(name, resource, settable, json=json) for json in (False, True)
            )
            wrong.append(FieldViolation(FIELD, ours, in_json))
        elif path.field not in (*settable, *known):
            shown = (_shown(name), _shown(_in_json(name, resource)))
            ours, in_json = (f"{each} can't be set." for each in shown)
            wrong.append(FieldViolation(FIELD, ours, in_json))
        else:
            found[path] = None
    if wrong:
        raise invalid_fields(*wrong[:_MOST_NAMED])
    return list(found)


def _path(name: str, resource: Descriptor) -> Path | None:
    """Returns what a name stands for, None for nothing."""
    first, dot, rest = name.partition(".")
    field = _field(first, resource)
    if field is None:
        return None
    if not dot:
        return Path(field.name)
    inner = field.message_type
    if inner and inner.GetOptions().map_entry:
        return Path(field.name, rest.strip("`"))
    part = _field(rest, inner) if inner and not field.is_repeated else None
    return Path(field.name, part.name) if part else None


def _field(name: str, message: Descriptor) -> FieldDescriptor | None:
    return next((each for each in message.fields if name in (each.name, each.json_name)), None)


def _in_json(name: str, resource: Descriptor) -> str:
    """Returns a name as JSON has it: a REST caller's has become the proto's on its way here."""
    first, dot, rest = name.partition(".")
    field = _field(first, resource)
    if field is None:
        return name
    inner = field.message_type
    part = _field(rest, inner) if inner and not inner.GetOptions().map_entry else None
    return field.camelcase_name + dot + (part.camelcase_name if part else rest)


def _unknown(name: str, resource: Descriptor, settable: Sequence[str], *, json: bool) -> str:
    fields = [resource.fields_by_name[each] for each in settable]
    known = [field.json_name if json else field.name for field in fields]
    in_parts = " or ".join(
        shown for shown, field in zip(known, fields, strict=True) if field.message_type
    )
    if in_parts:
        known.append(f"a part of {in_parts}")
    return f"There is no field {_shown(name)}; name some of {', '.join(known)}, or * for all."


def _shown(name: str) -> str:
    return printable(name if len(name) <= _LONGEST_SHOWN else name[: _LONGEST_SHOWN - 1] + "…")
