"""A row as a call, and the key that makes it happen once."""

import contextlib
import re
import unicodedata
import uuid
from collections.abc import Iterator, Mapping

from billing.v1 import customer_pb2, customer_service_pb2

from client.importing.columns import EMAIL, EXTERNAL_ID, NAME, NOTE

_KEYS = uuid.UUID("8f0b6c1e-52d4-4c0e-9d0c-6f2b1f9a7e35")
_PERSON, _LABELS = "person.", "labels."
# What spreadsheets make of long numbers, and of formulas that can't be worked out.
_SHORTENED = re.compile(r"[0-9]([.,][0-9]+)?E\+[0-9]+")
_BROKEN = re.compile(
    r"#(N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|Н/Д|ССЫЛКА!|ЗНАЧ!|ИМЯ\?|ДЕЛ/0!|ЧИСЛО!)"
)


def request(reseller: str, values: Mapping[str, str]) -> customer_service_pb2.InviteCustomerRequest:
    """Returns the call that invites who is in a row, whose values are by field."""
    return customer_service_pb2.InviteCustomerRequest(
        parent=reseller,
        customer=customer_pb2.Customer(
            display_name=values.get(NAME, ""),
            email=values.get(EMAIL, ""),
            external_id=values.get(EXTERNAL_ID, ""),
            person=customer_pb2.Person(**_part(values, _PERSON)),
            labels=_part(values, _LABELS),
        ),
        language_code=values.get("language_code", ""),
        inviter_display_name=values.get("inviter_display_name", ""),
        note=values.get(NOTE, ""),
    )


def _part(values: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        field.removeprefix(prefix): value
        for field, value in values.items()
        if field.startswith(prefix)
    }


def problems(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields the fields that are wrong whatever the service says, and why."""
    for field in (NAME, EMAIL):
        if not values.get(field):
            yield field, "Is needed."
    for field, value in values.items():
        if _SHORTENED.fullmatch(value):
            why = f"A spreadsheet has shortened this number to {value}: make the column text, and "
            yield field, why + "type it anew."
        elif _BROKEN.fullmatch(value):
            yield field, f"{value} is no value: mend the formula."


def contact(customer: customer_pb2.Customer) -> str:
    """Returns address and tax number, the same for the same ones however they are spelled."""
    name, at, domain = unicodedata.normalize("NFC", customer.email).casefold().rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = domain.encode("idna").decode()
    return f"{name}{at}{domain}\n{customer.person.tin}"


def key(request: customer_service_pb2.InviteCustomerRequest) -> uuid.UUID:
    """Returns the idempotency key of a row: by its external ID, else by address and tax number."""
    customer = request.customer
    if customer.external_id:
        content = f"external ID\n{customer.external_id}"
    else:
        content = f"at\n{contact(customer)}"
    return uuid.uuid5(_KEYS, f"{request.parent}\n{content}")


def key_after(first: str, operation: str) -> str:
    """Returns the key that invites a row anew, once, whose operation has failed; `first` if none has."""
    return str(uuid.uuid5(uuid.UUID(first), operation)) if operation else first


def is_same(wanted: customer_pb2.Customer, existing: customer_pb2.Customer) -> bool:
    """Tells whether an existing customer is the one of a row, and need not be invited."""
    if wanted.external_id and wanted.external_id != existing.external_id:
        return False
    if wanted.external_id:
        return contact(wanted).partition("\n")[0] == contact(existing).partition("\n")[0]
    return contact(wanted) == contact(existing)
