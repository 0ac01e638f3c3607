"""The right to what a request names, asked before the request is looked at any closer.

Checking fields can take long, and a caller without the right is not to learn what they would say. Use
cases ask again for what they find in the database.
"""

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from yandex.cloud import validation_pb2

from server.domain.access import Permission, Subject

RightCheck = Callable[[Subject, Any], None]

# Fields that hold a reseller's ID, or a name below `resellers/{reseller}`.
_IDS = ("reseller_id",)
_NAMES = ("parent", "name")
# What is to be changed, by methods that change a resource itself, has its name in it.
_UPDATE_MASK = "update_mask"
# Fields that hold the ID of a thing; which reseller it belongs to, only the database knows.
_OTHERS = ("customer_id", "operation_id", "resource_id", "id")
# What lists have.
_PAGE_SIZE = "page_size"
_PREFIX = "resellers/"
_LONGEST_ID = 50


def right_check(method: MethodDescriptor, permission: Permission) -> RightCheck | None:
    """Returns what raises PERMISSION_MISSING for who may not call the method; None if all may.

    A request that names no reseller, or nothing that could be one, takes the right for any.
    """
    fields = method.input_type.fields_by_name
    if _UPDATE_MASK in fields:
        (resource,) = (
            each.name
            for each in method.input_type.fields
            if each.message_type and "name" in each.message_type.fields_by_name
        )
        check_named = _check(fields[resource].message_type, "name", permission)
        return lambda subject, request: check_named(subject, getattr(request, resource))
    named = next((name for name in (*_IDS, *_NAMES, *_OTHERS) if name in fields), None)
    if named:
        return _check(method.input_type, named, permission)
    if _PAGE_SIZE in fields:  # a list of all that the caller may read
        return lambda subject, _: subject.require_any(permission)
    return None


def _check(message: Descriptor, named: str, permission: Permission) -> RightCheck:
    """Returns what asks for the right to what a field of a message names."""
    if named in _OTHERS:
        return lambda subject, _: subject.require_any(permission)
    pattern = message.fields_by_name[named].GetOptions().Extensions[validation_pb2.pattern]
    could_be = re.compile(pattern or ".+", re.DOTALL).fullmatch
    is_name = named in _NAMES

    def check(subject: Subject, request: Any) -> None:
        reseller_id = getattr(request, named)
        if is_name:
            reseller_id = _reseller(reseller_id)
        if len(reseller_id) <= _LONGEST_ID and could_be(reseller_id):
            subject.require(permission, reseller_id)
        else:
            subject.require_any(permission)

    return check


def _reseller(name: str) -> str:
    if not name.startswith(_PREFIX):
        return ""
    end = name.find("/", len(_PREFIX), len(_PREFIX) + _LONGEST_ID + 1)
    return name[len(_PREFIX) : None if end < 0 else end]
