"""What every call goes through: identity, limits, validation, and errors made exact."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from contract.method_options import is_open_to_all, only_reads
from server.domain.access import Permission, Subject
from server.domain.errors import BillingError, FieldViolation, Reason
from server.domain.ids import random_bytes
from server.rpc.pipeline.addresses import Addresses
from server.rpc.pipeline.authentication import Authenticator
from server.rpc.pipeline.errors import call_status
from server.rpc.pipeline.limits import Places, RateLimit, Turns
from server.rpc.pipeline.message_reader import CALL_IS_OVER, Arrivals, Context
from server.rpc.pipeline.rights import right_check
from server.rpc.pipeline.validation import validate
from server.storage.interface import IdempotencyKey

_log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# What a browser sends is a small form. A megabyte of HttpBody's extensions is half a million messages,
# which take 25 ms to make.
_MOST_RAW_BYTES = 64 << 10
# A list of 1,000 rows takes as long as fifty other calls.
_LISTS_AT_ONCE = 4
_KEY = "idempotency-key"
# Headers that must not differ from themselves.
_ONCE = {_KEY: "Idempotency-Key", "authorization": "Authorization"}
# The gateway sets it on every REST call, and lets no caller send it.
_REST = "x-envoy-original-path"


@dataclass(slots=True)
class Call:
    """What a servicer knows about the call beside its request.

    `subject` is None only for methods that are open to all. `time_left_s` is None for a call
    without a deadline. `idempotency_key` is set if the caller sent one with a changing method.
    `authorization` is the header that proved the subject. `address` is where a call without identity
    comes from, as far as the gateway tells. `languages` is the Accept-Language of a browser.
    `send_headers` sends headers ahead of the answer, once.
    """

    subject: Subject | None
    request_id: str
    idempotency_key: IdempotencyKey | None
    time_left_s: float | None
    authority: str
    authorization: str
    address: str
    languages: str
    send_headers: Callable[[tuple[tuple[str, str], ...]], Awaitable[None]]

    @property
    def caller(self) -> Subject:
        """The proven subject of a method that is not open to all."""
        if self.subject is None:
            raise LookupError("the method is open to all")
        return self.subject


Method = Callable[[Any, Call], Awaitable[Message]]
Handlers = Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]


class Limits:
    """What bounds the calls of one process. Strangers are those who call without credentials."""

    def __init__(
        self, rate: RateLimit, most_calls: int, most_strangers: int, most_bytes: int
    ) -> None:
        self.rate = rate
        self.most_bytes = most_bytes
        self.most_strangers = most_strangers
        self.calls = Places(most_calls)
        self.waits = Places(most_calls)
        self.lists = Turns(_LISTS_AT_ONCE)
        self.arrivals = Arrivals(2 * most_calls)
        # Calls of strangers, streams that they hold open, and tokens that nobody has proven yet.
        self.strangers = Places(most_strangers)
        self.streams = Places(most_strangers)
        self.proofs = Places(most_strangers)
        self.strangers_arrivals = Arrivals(most_strangers)


class Calls:
    """Makes grpc handlers from servicers whose methods take (request, Call)."""

    def __init__(self, authenticator: Authenticator, limits: Limits, addresses: Addresses) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._addresses = addresses

    def handlers(self, service: ServiceDescriptor, servicer: object) -> Handlers:
        """Returns a service's handlers by method."""
        return {
            method.name: grpc.stream_unary_rpc_method_handler(
                self._behaviour(method, getattr(servicer, method.name)),
                response_serializer=GetMessageClass(method.output_type).SerializeToString,
            )
            for method in service.methods
            if hasattr(servicer, method.name)
        }

    def _behaviour(
        self, method: MethodDescriptor, run: Method
    ) -> Callable[[object, Context], Awaitable[Message]]:
        request_type = GetMessageClass(method.input_type)
        open_to_all = is_open_to_all(method.full_name, method.GetOptions())
        read = only_reads(method.full_name, method.GetOptions())
        limits, addresses = self._limits, self._addresses
        lists = method.name.startswith("List") and not open_to_all
        places = limits.calls
        if open_to_all:
            places = limits.strangers
        elif method.name.startswith("Wait"):
            places = limits.waits
        right = right_check(method, Permission.READ if read else Permission.WRITE)
        most_bytes = limits.most_bytes
        if any(field.message_type is HttpBody.DESCRIPTOR for field in method.input_type.fields):
            most_bytes = min(most_bytes, _MOST_RAW_BYTES)
        name = method.full_name

        async def behaviour(_: object, context: Context) -> Message:
            sent = context.invocation_metadata() or ()
            metadata: dict[str, Any] = dict(sent)
            several = _given_differently(sent) if len(metadata) < len(sent) else ()
            request_id = request_id_of({} if "x-request-id" in several else metadata)
            try:
                if several:
                    _require_once(several, read)
                if open_to_all:
                    # Only those whose message is there take one of the places for strangers.
                    raw = await limits.strangers_arrivals.receive(context, most_bytes)
                    caller = address = addresses.of(metadata, context.peer())
                    subject = None
                else:
                    # Whoever is nobody holds nothing while the message comes.
                    subject = await self._subject(metadata, context)
                    caller, address = subject.id, ""
                limits.rate.admit(caller)
                places.take(caller)
                try:
                    if subject:
                        raw = await limits.arrivals.receive(context, most_bytes)
                    try:
                        request = request_type.FromString(raw)
                    except DecodeError:
                        raise malformed(name) from None
                    if right and subject:
                        right(subject, request)
                    validate(request)
                    key = None if read else _idempotency_key(metadata, subject, name, request)
                    context.set_trailing_metadata((("x-request-id", request_id),))
                    call = Call(
                        subject,
                        request_id,
                        key,
                        context.time_remaining(),
                        metadata.get("x-forwarded-host", ""),
                        metadata.get("authorization", ""),
                        address,
                        metadata.get("accept-language", ""),
                        context.send_initial_metadata,
                    )
                    if not lists:
                        return await run(request, call)
                    await limits.lists.take(caller)
                    try:
                        return await run(request, call)
                    finally:
                        limits.lists.give_back()
                finally:
                    places.give_back(caller)
            except BillingError as error:
                return await abort(context, error, request_id, json_names=_REST in metadata)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except CALL_IS_OVER:
                raise asyncio.CancelledError from None
            except Exception:
                _log.exception("%s failed, request %s", name, request_id)
                return await abort(context, _INTERNAL, request_id)

        return behaviour

    async def _subject(self, metadata: dict[str, Any], context: Context) -> Subject:
        """Proves who calls; only those known already wait in no line with strangers."""
        sent = metadata.get("authorization", "")
        subject = self._authenticator.remembered(sent)
        if subject:
            return subject
        if self._authenticator.has_known(sent):
            return await self._authenticator.authenticate(sent)
        proofs = self._limits.proofs
        address = self._addresses.of(metadata, context.peer())
        proofs.take(address)
        try:
            return await self._authenticator.authenticate(sent)
        finally:
            proofs.give_back(address)


class Methods(grpc.GenericRpcHandler):
    """The handlers of all services; grpc would ask one of each service in turn."""

    def __init__(self) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._unknown: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(
            _refuse_unknown
        )

    def add(self, service: str, handlers: Handlers) -> None:
        """Adds those of a service, given by its full name."""
        self._handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns the handler of the call's method, or what refuses an unknown one."""
        return self._handlers.get(call.method, self._unknown)


async def _refuse_unknown(_: object, context: Context) -> Message:
    error = BillingError(
        Reason.METHOD_UNKNOWN, "There is no such method; see the server's reflection."
    )
    return await abort(context, error, request_id_of(dict(context.invocation_metadata() or ())))


_INTERNAL = BillingError(
    Reason.INTERNAL, "Something went wrong on our side; report the request ID if it persists."
)


def malformed(method: str) -> BillingError:
    """Returns the refusal of bytes that are no message of the method."""
    return BillingError(
        Reason.REQUEST_MALFORMED,
        "The request is not a valid message of this method (text must be UTF-8).",
        metadata={"method": method},
    )


def request_id_of(metadata: dict[str, Any]) -> str:
    """Returns the caller's own ID of the request where it is sane, else a new one."""
    sent = metadata.get("x-request-id") or metadata.get("x-client-request-id")
    if isinstance(sent, str) and _REQUEST_ID.fullmatch(sent):
        return sent
    # A UUID of version 4, as the library makes it at three times the cost.
    digits = random_bytes().hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _given_differently(sent: Iterable[tuple[str, Any]]) -> Collection[str]:
    """Returns the names of headers that stand more than once, with different values."""
    values: dict[str, Any] = {}
    return {name for name, value in sent if values.setdefault(name, value) != value}


def _require_once(several: Collection[str], read: bool) -> None:
    """Raises FIELDS_INVALID for a header that must be one: none of its values would be the right one.

    An idempotency key with a call that changes nothing is ignored, however many there are; a request
    ID given twice is no ID.
    """
    wrong = [
        _ONCE[name] for name in sorted(several) if name in _ONCE and not (read and name == _KEY)
    ]
    if wrong:
        raise BillingError(
            Reason.FIELDS_INVALID,
            "The request has headers that must be given once.",
            fields=[FieldViolation(name, "Must be given once.") for name in wrong],
        )


def _idempotency_key(
    metadata: dict[str, Any], subject: Subject | None, method: str, request: Message
) -> IdempotencyKey | None:
    sent = metadata.get(_KEY)
    if sent is None:
        return None
    sent = sent.lower()
    if not _UUID.fullmatch(sent):
        raise BillingError(
            Reason.IDEMPOTENCY_KEY_INVALID,
            "Idempotency-Key must be a UUID, like 6f8c0a52-3a7e-4d8b-9c1e-2b5d7f9a0c14.",
            fields=[FieldViolation("Idempotency-Key", "Must be a UUID.")],
        )
    caller = subject.id if subject else ""
    return IdempotencyKey(
        key=_digest(caller.encode(), sent.encode()),
        fingerprint=_digest(method.encode(), request.SerializeToString(deterministic=True)),
    )


def _digest(scope: bytes, content: bytes) -> bytes:
    return hashlib.blake2b(scope + b"\0" + content, digest_size=16).digest()


async def abort(
    context: Context,
    error: BillingError,
    request_id: str,
    *,
    json_names: bool = False,
) -> Message:
    """Ends the call with the error's status; never returns."""
    trailing: tuple[tuple[str, str | bytes], ...] = (("x-request-id", request_id),)
    if error.retry_after_s is not None:
        trailing += (("retry-after", str(max(1, round(error.retry_after_s)))),)
    status = call_status(error, request_id, json_names=json_names)
    try:
        await context.abort_with_status(_Status(status, trailing))
    except CALL_IS_OVER:
        raise asyncio.CancelledError from None
    raise AssertionError("abort raises")


class _Status(grpc.Status):
    """A google.rpc.Status as grpc sends it, with more trailing metadata."""

    def __init__(
        self, status: status_pb2.Status, trailing: tuple[tuple[str, str | bytes], ...]
    ) -> None:
        self.code = _STATUS_CODES[status.code]
        self.details = status.message
        self.trailing_metadata = (
            ("grpc-status-details-bin", status.SerializeToString()),
            *trailing,
        )


_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
