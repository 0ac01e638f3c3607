"""Access bindings as the published messages."""

import re
from collections.abc import Iterable, Sequence

from yandex.cloud.access import access_pb2

from server.domain.access import Role
from server.domain.errors import FieldViolation, invalid_fields
from server.domain.role_changes import AccessBinding, HeldRole, RoleDelta

_ACCOUNT, _OUTSIDE = "serviceAccount", "userAccount"
_TYPES = (_ACCOUNT, _OUTSIDE)
_GIVES = {access_pb2.ADD: True, access_pb2.REMOVE: False}
_ROLES = {role.value: role for role in Role}
# As tokens of an outside issuer may have them.
_SUBJECT = re.compile(r"[\x21-\x7e]+")


def to_yandex(binding: AccessBinding) -> access_pb2.AccessBinding:
    """Returns the record as yandex.cloud.access.AccessBinding."""
    subject_id, role = binding.held
    return access_pb2.AccessBinding(
        role_id=role.value,
        subject=access_pb2.Subject(
            id=subject_id, type=_ACCOUNT if binding.is_account else _OUTSIDE
        ),
    )


def parse_deltas(deltas: Sequence[access_pb2.AccessBindingDelta]) -> list[RoleDelta]:
    """Returns what to give and to take; raises FIELDS_INVALID that names all that is wrong."""
    parsed: list[RoleDelta] = []
    wrong: list[FieldViolation] = []
    for index, delta in enumerate(deltas):
        binding = delta.access_binding
        subject_id, type_ = binding.subject.id, binding.subject.type
        give, role = _GIVES.get(delta.action), _ROLES.get(binding.role_id)
        if (
            give is None
            or role is None
            or type_ not in _TYPES
            or not _SUBJECT.fullmatch(subject_id)
        ):
            wrong += _wrong(index, delta)
            continue
        held = AccessBinding(HeldRole(subject_id, role), type_ == _ACCOUNT)
        parsed.append(RoleDelta(give, held, _field(index)))
    if wrong:
        raise invalid_fields(*wrong)
    return parsed


def _wrong(index: int, delta: access_pb2.AccessBindingDelta) -> Iterable[FieldViolation]:
    binding, field = delta.access_binding, _field(index)
    if delta.action not in _GIVES:
        action = f"access_binding_deltas[{index}].action"
        yield FieldViolation(action, "Must be ADD or REMOVE.")
    if binding.role_id not in _ROLES:
        yield FieldViolation(f"{field}.role_id", f"Must be one of {', '.join(_ROLES)}.")
    if binding.subject.type not in _TYPES:
        text = f"Must be {_ACCOUNT}, or {_OUTSIDE} for a subject of the outside issuer."
        yield FieldViolation(f"{field}.subject.type", text)
    if not _SUBJECT.fullmatch(binding.subject.id):
        text = "Must be printable ASCII characters without blanks."
        yield FieldViolation(f"{field}.subject.id", text)


def _field(index: int) -> str:
    return f"access_binding_deltas[{index}].access_binding"
