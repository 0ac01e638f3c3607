"""The IDs in a call's log line: of what it names and of what it made; nothing else of a request.

Callers put names and addresses anywhere. What has the form of our IDs is neither.
"""

import contextvars
import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from server.domain import ids
from server.domain.access import Subject
from server.domain.operations import Operation, OperationKind

_KINDS = {
    ids.OPERATION: "operation",
    ids.CUSTOMER: "customer",
    ids.INVITATION: "invitation",
    ids.WEBHOOK: "webhook",
}
_ID = re.compile(rf"(?<![0-9A-Za-z])({'|'.join(_KINDS)})[0-9a-v]{{17}}(?![0-9A-Za-z])")
_ID_LENGTH = 20
# Of the texts that are looked at.
_LONGEST = 256
_NAMING = ("name", "parent", "id")

CallIds = dict[str, str]
# Of the call that the task answers, None where nobody asks for them.
_CURRENT: contextvars.ContextVar[CallIds | None] = contextvars.ContextVar("call_ids", default=None)


def begin(request_id: str, *, is_list: bool) -> CallIds:
    """Begins those of a call; what a list answers with is not told."""
    found = {"request": request_id}
    if not is_list:
        _CURRENT.set(found)
    return found


def note_operation(operation: Operation) -> None:
    """Adds those of the operation that the call answers with."""
    found = _CURRENT.get()
    if found is None:
        return
    found["operation"] = operation.id
    found["reseller"] = operation.reseller_id
    customer = operation.customer_id
    if not customer:
        return
    found["customer"] = customer
    is_invited = operation.kind is not OperationKind.CREATE_RESELLER_SERVED
    if is_invited and operation.id[3:] == customer[3:]:
        # What is made together has IDs that end alike.
        found.setdefault("invitation", ids.INVITATION + customer[3:])


def note_webhook(id_: str) -> None:
    """Adds the webhook that the call has made."""
    found = _CURRENT.get()
    if found is not None:
        found["webhook"] = id_


def caller_id(subject: Subject) -> str:
    """Returns a service account's ID; of another subject, whose name may be an address, a hash."""
    return _shown(subject.id)


@functools.lru_cache(4096)
def _shown(subject_id: str) -> str:
    if ids.has_form(subject_id):
        return subject_id
    return f"subject-{hashlib.sha256(subject_id.encode()).hexdigest()[:12]}"


def for_gateway(found: CallIds, subject: Subject | None) -> tuple[tuple[str, str], ...]:
    """Returns what the gateway's access log tells of a call, as metadata behind its answer."""
    caller = (("x-call-caller", caller_id(subject)),) if subject else ()
    operation = found.get("operation")
    return (*caller, ("x-call-operation", operation)) if operation else caller


def reader_of(method: MethodDescriptor) -> Callable[[CallIds, Any, Subject | None], None]:
    """Returns what adds those that a request of the method names."""
    named = [
        field.name
        for field in method.input_type.fields
        if field.type == FieldDescriptor.TYPE_STRING
        and not field.is_repeated
        and (field.name in _NAMING or field.name.endswith("_id"))
    ]

    def read(found: CallIds, request: Any, subject: Subject | None) -> None:
        for name in named:
            value: str = getattr(request, name)
            # The operation that a call has answered with is known by then.
            if not value or len(value) > _LONGEST or value == found.get("operation"):
                continue
            for kind, id_ in _ids_in(value):
                found[kind] = id_
            reseller = value
            if name != "reseller_id":
                if not value.startswith("resellers/"):
                    continue
                reseller = value.split("/", 2)[1]
            # Whoever has a role there names a reseller; anything else may be a name.
            if subject and reseller in subject.roles:
                found["reseller"] = reseller

    return read


def _ids_in(value: str) -> Sequence[tuple[str, str]]:
    if len(value) == _ID_LENGTH:  # nearly always, and found out in less time
        kind = _KINDS.get(value[:3])
        return ((kind, value),) if kind and _ID.match(value) else ()
    return [(_KINDS[match[1]], match[0]) for match in _ID.finditer(value)]
