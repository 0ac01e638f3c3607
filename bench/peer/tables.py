"""What the peer keeps: the same facts as the service, as ORM classes on SQLite."""

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Engine, ForeignKey, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables."""


class Token(Base):
    """A bearer token and the reseller that it may invite for."""

    __tablename__ = "tokens"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    reseller_id: Mapped[str]


class Customer(Base):
    """An invited customer."""

    __tablename__ = "customers"
    id: Mapped[str] = mapped_column(primary_key=True)
    reseller_id: Mapped[str] = mapped_column(index=True)
    billing_account_id: Mapped[str]
    name: Mapped[str]
    person: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str]
    created_at: Mapped[datetime]


class Operation(Base):
    """What the caller polls; due until its e-mail has been sent."""

    __tablename__ = "operations"
    id: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("customers.id"))
    reseller_id: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    modified_at: Mapped[datetime]
    done: Mapped[bool]
    due_at: Mapped[datetime | None] = mapped_column(index=True)


class Invitation(Base):
    """`open_key` is unique: a reseller has one open invitation for an address and tax number."""

    __tablename__ = "invitations"
    id: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("customers.id"))
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"))
    email: Mapped[str]
    open_key: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class IdempotencyKey(Base):
    """A key that came with a request."""

    __tablename__ = "idempotency_keys"
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    operation_id: Mapped[str]


def digest(*parts: str) -> str:
    """Names what is too long or too secret to be kept."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def engine(path: str) -> Engine:
    """Opens the database with the service's durability: WAL, and on disk before an answer."""
    opened = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})

    @event.listens_for(opened, "connect")
    def prepare(connection: Any, _record: object) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000"):
            connection.execute(f"PRAGMA {pragma}")

    return opened
