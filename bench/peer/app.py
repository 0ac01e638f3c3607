"""The peer's one method: the same fields, checks, idempotency and durability as the service's.

`PEER_DATABASE` is a file. Started by uvicorn with uvloop and httptools.

The session is used in the event loop: SQLite has one writer at a time, so that threads or processes
only wait for each other's locks. Tried: a `def` endpoint in the thread pool, and either with two
workers of uvicorn, came to as many calls a second or fewer, within the spread.
"""

import os
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import email_validator
import phonenumbers
from fastapi import FastAPI, Header, HTTPException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from bench.peer.tables import (
    Customer,
    IdempotencyKey,
    Invitation,
    Operation,
    Token,
    digest,
    engine,
)

app = FastAPI()
sessions = sessionmaker(engine(os.environ["PEER_DATABASE"]), expire_on_commit=False)


def _address(value: str) -> str:
    try:
        return email_validator.validate_email(value, check_deliverability=False).normalized
    except email_validator.EmailNotValidError as error:
        raise ValueError(str(error)) from None


def _phone(value: str) -> str:
    try:
        if phonenumbers.is_possible_number(phonenumbers.parse(value, "RU")):
            return value
    except phonenumbers.NumberParseException:
        pass
    raise ValueError("not a telephone number")


Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
Address = Annotated[str, AfterValidator(_address)]
Phone = Annotated[str, AfterValidator(_phone)]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Person(_Body):
    """The published CustomerPerson."""

    name: Text = ""
    longname: Text = ""
    phone: Phone | None = None
    email: Address | None = None
    post_code: Text = ""
    post_address: Text = ""
    legal_address: Text = ""
    tin: Text = ""


class Invite(_Body):
    """The published InviteCustomerRequest."""

    reseller_id: Annotated[Text, Field(min_length=1, max_length=50)]
    name: Annotated[Text, Field(min_length=1)]
    invitation_email: Address
    person: Person


@app.post("/billing/v1/customers:invite")
async def invite(
    body: Invite,
    authorization: Annotated[str, Header()] = "",
    idempotency_key: Annotated[uuid.UUID | None, Header()] = None,
) -> dict[str, Any]:
    """Records operation, customer, invitation and key in one transaction."""
    with sessions() as session:
        caller = _caller(session, authorization, body.reseller_id)
        key = digest(caller, str(idempotency_key)) if idempotency_key else None
        fingerprint = digest(body.model_dump_json())
        if key:
            known = session.get(IdempotencyKey, key)
            if known and known.fingerprint != fingerprint:
                raise HTTPException(400, "the key came with another request")
            if known:
                return _shown(session.get_one(Operation, known.operation_id))
        operation = _record(session, body, caller)
        if key:
            session.add(IdempotencyKey(key=key, fingerprint=fingerprint, operation_id=operation.id))
        try:
            session.commit()
        except IntegrityError:
            raise HTTPException(409, "an invitation is open") from None
        return _shown(operation)


def _caller(session: Session, authorization: str, reseller_id: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HTTPException(401, "send a token")
    found = session.scalar(select(Token).where(Token.token_hash == digest(token)))
    if not found:
        raise HTTPException(401, "the token is not valid")
    if found.reseller_id != reseller_id:
        raise HTTPException(403, "not your reseller")
    return found.subject


def _record(session: Session, body: Invite, caller: str) -> Operation:
    now = datetime.now(UTC)
    customer = Customer(
        id=_id("bcu"),
        reseller_id=body.reseller_id,
        billing_account_id=_id("bac"),
        name=body.name,
        person=body.person.model_dump(exclude_defaults=True),
        state="acceptance_required",
        created_at=now,
    )
    operation = Operation(
        id=_id("bop"),
        customer_id=customer.id,
        reseller_id=body.reseller_id,
        created_by=caller,
        created_at=now,
        modified_at=now,
        done=False,
        due_at=now,
    )
    invitation = Invitation(
        id=_id("inv"),
        customer_id=customer.id,
        operation_id=operation.id,
        email=body.invitation_email,
        open_key=digest(body.reseller_id, body.invitation_email.casefold(), body.person.tin),
        created_at=now,
        expires_at=now + timedelta(days=30),
    )
    session.add_all([customer, operation, invitation])
    return operation


def _shown(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "description": "Invite customer",
        "createdAt": operation.created_at.isoformat(),
        "createdBy": operation.created_by,
        "modifiedAt": operation.modified_at.isoformat(),
        "done": operation.done,
        "metadata": {"resellerId": operation.reseller_id, "customerId": operation.customer_id},
    }


def _id(prefix: str) -> str:
    return prefix + secrets.token_hex(10)[:17]
