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
_SHORTENED = re.compile(r"[0-9][.,][0-9]+E\+[0-9]+")
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


def _part(values: Mapping[str, str], before: str) -> dict[str, str]:
    return {
        field.removeprefix(before): value
        for field, value in values.items()
        if field.startswith(before)
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


def place(customer: customer_pb2.Customer) -> str:
    """Returns address and tax number, the same for the same ones however they are spelled."""
    name, at, domain = unicodedata.normalize("NFC", customer.email).casefold().rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = domain.encode("idna").decode()
    return f"{name}{at}{domain}\n{customer.person.tin}"


def key(request: customer_service_pb2.InviteCustomerRequest) -> uuid.UUID:
    """Returns the idempotency key of a row: by its external ID, else by address and tax number."""
    customer = request.customer
    content = (
        f"external ID\n{customer.external_id}" if customer.external_id else f"at\n{place(customer)}"
    )
    return uuid.uuid5(_KEYS, f"{request.parent}\n{content}")


def key_after(first: str, operation: str) -> str:
    """Returns the key of a row whose operation of before has failed: to be invited anew, once."""
    return str(uuid.uuid5(uuid.UUID(first), operation)) if operation else first


def is_same(wanted: customer_pb2.Customer, there: customer_pb2.Customer) -> bool:
    """Tells whether a customer that is there is the one of a row, and need not be invited."""
    if wanted.external_id and wanted.external_id != there.external_id:
        return False
    if wanted.external_id:
        return place(wanted).partition("\n")[0] == place(there).partition("\n")[0]
    return place(wanted) == place(there)
