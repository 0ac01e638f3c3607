"""Customers and invitations from and to their rows: they are one row, shown as two records."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from server.domain import ids
from server.domain.customers import Customer, CustomerState
from server.domain.invitations import Invitation
from server.domain.mail import DeliveryError, DeliveryState, EmailDelivery
from server.storage import resellers
from server.storage.invitation_options import read_options
from server.storage.schema.codes import (
    CUSTOMER_STATES,
    DELIVERY_STATES,
    INVITATION_STATES,
    CustomerStateCode,
    DeliveryStateCode,
    InvitationStateCode,
)
from server.storage.schema.tables import (
    AccountId,
    AddressKey,
    CustomerId,
    CustomerNumber,
    CustomerRow,
    DeliveryJson,
    DisplayName,
    Email,
    ExternalId,
    InvitationId,
    LabelsJson,
    OperationId,
    OperationNumber,
    OptionsJson,
    PersonJson,
    ResellerNumber,
    customers,
)
from server.storage.sql.json_texts import from_json, to_json
from server.storage.sql.statements import IDS, Query, Transaction, columns
from server.storage.sql.times import Micros, from_micros, from_micros_or_none, micros


class CustomerPart(NamedTuple):
    """What a customer's record is made of."""

    n: CustomerNumber
    id: CustomerId
    reseller: ResellerNumber
    state: CustomerStateCode
    name: DisplayName
    person: PersonJson
    created_at: Micros
    modified_at: Micros
    email: Email | None
    billing_account_id: AccountId | None
    external_id: ExternalId | None
    labels: LabelsJson | None
    deleted_at: Micros | None


class InvitationPart(NamedTuple):
    """What an invitation's record is made of, and what is needed to change it."""

    n: CustomerNumber
    id: CustomerId
    reseller: ResellerNumber
    state: CustomerStateCode
    created_at: Micros
    modified_at: Micros
    invitation: InvitationStateCode
    email: Email
    address_key: AddressKey
    expires_at: Micros
    latest: OperationNumber
    ended_at: Micros | None
    resent_at: Micros | None
    invitation_id: InvitationId | None
    operation_id: OperationId | None
    delivery: DeliveryStateCode | None
    sent: DeliveryJson | None
    options: OptionsJson | None
    deleted_at: Micros | None

    @property
    def public_id(self) -> str:
        """The invitation's ID."""
        return self.invitation_id or ids.INVITATION + self.id[3:]

    @property
    def made_by(self) -> str:
        """The ID of the operation that made it."""
        return self.operation_id or ids.OPERATION + self.id[3:]


CUSTOMER_PART = columns(customers, CustomerPart)
IS_LIVING = customers.c.deleted_at.is_(None)
INVITATION_PART = columns(customers, InvitationPart)
LOCK_INVITATIONS = Query(
    InvitationPart,
    select(*INVITATION_PART)
    .where(customers.c.n.in_(IDS))
    .order_by(customers.c.n)  # in one order, so that two batches don't wait for each other
    .with_for_update(),
)


def customer(transaction: Transaction, row: CustomerPart | CustomerRow) -> Customer:
    """Returns the customer in a row."""
    return Customer(
        row.id,
        resellers.reseller_id(transaction, row.reseller),
        row.billing_account_id or ids.BILLING_ACCOUNT + row.id[3:],
        row.name,
        from_json(row.person),
        row.email,
        _customer_state(row),
        from_micros(row.created_at),
        from_micros(row.modified_at),
        row.external_id,
        from_json(row.labels) if row.labels else {},
        from_micros_or_none(row.deleted_at),
    )


def invitation(transaction: Transaction, row: InvitationPart) -> Invitation:
    """Returns the invitation in a row that has one."""
    return Invitation(
        row.public_id,
        resellers.reseller_id(transaction, row.reseller),
        row.id,
        row.made_by,
        row.email,
        INVITATION_STATES[row.invitation],
        from_micros(row.created_at),
        from_micros(row.expires_at),
        from_micros_or_none(row.ended_at),
        from_micros_or_none(row.resent_at),
        _customer_state(row),
        email_delivery(row.delivery, row.sent),
        read_options(row.options),
    )


def _customer_state(row: CustomerPart | CustomerRow | InvitationPart) -> CustomerState:
    return CUSTOMER_STATES[row.state] if row.deleted_at is None else CustomerState.DELETED


def email_delivery(
    code: DeliveryStateCode | None, sent: DeliveryJson | None
) -> EmailDelivery | None:
    """Returns how an invitation's latest e-mail that was sent stands; None: none was."""
    if code is None and sent is None:
        return None
    state = DeliveryState.SENT if code is None else DELIVERY_STATES[code]
    attempts, sent_at, error = from_json(sent) if sent else (0, None, None)
    return EmailDelivery(
        state,
        attempts,
        DeliveryError(*error) if error else None,
        sent_at=from_micros_or_none(sent_at),
    )


def sent_json(
    attempts: int, sent_at: datetime | None, error: DeliveryError | None = None
) -> DeliveryJson:
    """Returns what is kept of an e-mail that was sent, or is not to be: a JSON array."""
    return DeliveryJson(to_json([attempts, sent_at and micros(sent_at), error]))


def person_json(person: dict[str, str]) -> PersonJson:
    """Returns a customer's person as the database keeps it: a JSON object."""
    return PersonJson(to_json(person))


def labels_json(labels: Mapping[str, str]) -> LabelsJson | None:
    """Returns a customer's labels as the database keeps them."""
    return LabelsJson(to_json(dict(labels))) if labels else None


def external_id_or_none(external_id: str | None) -> ExternalId | None:
    """Returns what the reseller calls a customer as the database keeps it."""
    return ExternalId(external_id) if external_id else None


def tax_number(person: PersonJson) -> str:
    """Returns the tax number of a customer's person, if there is one."""
    found: str = from_json(person).get("tin", "")
    return found.strip()
