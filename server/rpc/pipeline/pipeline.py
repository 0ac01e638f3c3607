"""What every call goes through, step by step: `_answer` is the order."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from contract.method_options import body_field, is_open_to_all, manages_access, only_reads
from server.domain.access import Permission, Subject
from server.domain.errors import BillingError, Reason
from server.rpc.grpc_core import CALL_IS_OVER
from server.rpc.pipeline.abort import abort
from server.rpc.pipeline.authentication import Authenticator
from server.rpc.pipeline.availability import Availability, in_time
from server.rpc.pipeline.call_context import CallContext, ServicerContext
from server.rpc.pipeline.call_ids import begin as begin_ids
from server.rpc.pipeline.call_ids import caller_id, for_gateway, reader_of
from server.rpc.pipeline.caller_address import CallerAddresses
from server.rpc.pipeline.concurrency import RoundRobin, Turn
from server.rpc.pipeline.errors import CODES
from server.rpc.pipeline.idempotency import idempotency_key
from server.rpc.pipeline.limits import CallLimits
from server.rpc.pipeline.message_reader import parse
from server.rpc.pipeline.repeated_headers import given_differently, require_once
from server.rpc.pipeline.request_id import request_id_of
from server.rpc.pipeline.rights import right_check
from server.rpc.pipeline.router import Answer, Handlers, Sent, StreamingMethod, UnaryMethod
from server.rpc.pipeline.unreadable import HEADER as UNREADABLE
from server.rpc.pipeline.unreadable import refuse_unreadable
from server.rpc.pipeline.validation import RequestCheck, validate
from server.storage.interface.deadlines import end_within
from server.telemetry.call_log import CALL_LOG
from server.telemetry.failure_log import FailureLog
from server.telemetry.metrics import CODE_NAMES, calls_of
from server.telemetry.traces import TRACES

_FAULTS = FailureLog(logging.getLogger(__name__))

# What a browser sends is a small form. A megabyte of HttpBody's extensions is half a million messages,
# which take 25 ms to make.
MAX_FORM_BYTES = 64 << 10
# The gateway sets it on every REST call, and lets no caller send it.
_REST_HEADER = "x-envoy-original-path"
# And this one on every call.
_GATEWAYS_HEADER = "x-forwarded-for"

# A servicer's method: request and call in, answer out; None where it has sent a stream of them.
Method = Callable[[Any, CallContext], Awaitable[Message | None]]

# The gateway tries twice again what was refused. It does not say how much of the caller's time it has
# used up, so that both are to fit, of 3.75 s each; what was refused at once has used none.
_TRIES_AGAIN_S = 8.0
_AT_ONCE_S = 0.05

# Codes of gRPC; a call that ends otherwise was broken off by its caller.
_OK, _CANCELLED = 0, 1
_INTERNAL = BillingError(
    Reason.INTERNAL, "Something went wrong on our side; report the request ID if it persists."
)


class Pipeline:
    """Makes grpc handlers from servicers whose methods take (request, CallContext)."""

    def __init__(
        self,
        authenticator: Authenticator,
        limits: CallLimits,
        addresses: CallerAddresses,
        availability: Availability,
    ) -> None:
        self._availability = availability
        self._authenticator = authenticator
        self._limits = limits
        self._addresses = addresses

    def handlers(self, service: ServiceDescriptor, servicer: object) -> Handlers:
        """Returns a service's handlers by method.

        The servicer's `checks`, if it has some, are by method what `validate` is to ask beside the
        options, so that one refusal names all.
        """
        checks: Mapping[str, Sequence[RequestCheck]] = getattr(servicer, "checks", {})
        return {
            method.name: (
                StreamingMethod(self._answer(method, getattr(servicer, method.name), ()))
                if method.server_streaming
                else UnaryMethod(
                    self._answer(
                        method, getattr(servicer, method.name), checks.get(method.name, ())
                    ),
                    GetMessageClass(method.output_type).SerializeToString,
                )
            )
            for method in service.methods
            if hasattr(servicer, method.name)
        }

    def _answer(
        self, method: MethodDescriptor, run: Method, checks: Sequence[RequestCheck]
    ) -> Answer:
        # What does not differ from call to call is looked up here, once.
        name = method.full_name
        open_to_all = is_open_to_all(name, method.GetOptions())
        read_only = only_reads(name, method.GetOptions())
        body = body_field(method.GetOptions())
        # Of Connect in JSON, whose body is the whole request.
        own_path = f"/{method.containing_service.full_name}/{method.name}"
        # Links are counted by who knows which are wrong (`rpc/links.py`): right ones open, whatever else came
        # from their address.
        by_link = open_to_all and "token" in method.input_type.fields_by_name
        limits, addresses, availability = self._limits, self._addresses, self._availability
        turns: RoundRobin | None = None
        if method.name.startswith("List") and not open_to_all:
            turns = limits.lists
        elif manages_access(name, method.GetOptions()):
            turns = limits.role_changes
        concurrency = limits.calls
        if open_to_all:
            concurrency = limits.anonymous_calls
        elif method.name.startswith("Wait"):
            concurrency = limits.waits
        elif method.server_streaming:
            concurrency = limits.streams
        from_bytes = GetMessageClass(method.input_type).FromString
        max_bytes = limits.max_message_bytes
        if any(field.message_type is HttpBody.DESCRIPTOR for field in method.input_type.fields):
            max_bytes = min(max_bytes, MAX_FORM_BYTES)
        counted, seconds = calls_of(name), time.perf_counter
        streams = method.server_streaming
        read_ids, is_list = reader_of(method), method.name.startswith("List")
        right = right_check(method, _permission(method, read_only=read_only))

        async def answer(sent: Sent, _: object, context: ServicerContext) -> Message | None:
            began = seconds()
            code = _CANCELLED
            headers: dict[str, Any] = {name: value for name, value in sent}  # noqa: C416 - quicker
            repeated = given_differently(sent) if len(headers) < len(sent) else ()
            request_id = request_id_of({} if "x-request-id" in repeated else headers)
            subject = request = None
            error: BillingError = _INTERNAL
            span = None
            if TRACES.on:
                span = TRACES.begin_call(name, headers.get("traceparent"), request_id)
            ids = begin_ids(request_id, is_list=is_list)
            # A stream has as long as it lasts.
            left_s = None if streams else context.time_remaining()
            if left_s is not None:
                end_within(left_s)
            try:
                if availability.refusal:
                    raise availability.refusal
                if repeated:
                    require_once(repeated, read_only)
                if open_to_all:
                    # An anonymous call takes a place only once its message has come.
                    raw = await limits.anonymous_reader.read(context, max_bytes)
                    caller = address = addresses.of(headers, context.peer())
                else:
                    # A caller that can't prove who it is takes no place while its message comes.
                    subject = await self._subject(headers, context)
                    caller, address = subject.id, ""
                if not by_link:
                    limits.rate.admit(caller)
                concurrency.acquire(caller)
                opening: Turn | None = None
                try:
                    if streams and subject:
                        # Whatever a stream takes before its turn holds up calls that come behind it.
                        opening = await Turn.of(limits.stream_openings, caller)
                    if subject:
                        raw = await limits.reader.read(context, max_bytes)
                    request = parse(from_bytes, raw, name)
                    if right and subject:
                        right(subject, request)
                    if turns:
                        # Before the request is looked at, which for a thousand roles takes long.
                        await _take_turn(turns, caller, availability)
                    try:
                        if UNREADABLE in headers:
                            refuse_unreadable(headers[UNREADABLE], request, checks, body)
                        validate(request, checks)
                        key = None
                        if not read_only:
                            key = idempotency_key(headers, subject, name, request)
                        call = CallContext(
                            subject, request_id, key, address, headers, context, opening
                        )
                        answered = await run(request, call)
                    finally:
                        if turns:
                            turns.release()
                    behind: tuple[tuple[str, str], ...] = (("x-request-id", request_id),)
                    if _GATEWAYS_HEADER in headers:
                        behind += for_gateway(ids, subject)
                    context.set_trailing_metadata(behind)
                    code = _OK
                    return answered
                finally:
                    if opening:
                        opening.end()
                    concurrency.release(caller)
            except BillingError as refusal:
                error = refusal
                code = CODES[error.reason]
                if request is not None:
                    read_ids(ids, request, subject)
                if left_s is not None and _is_last(left_s, seconds() - began):
                    # An answer that has begun is none that the gateway tries again.
                    await context.send_initial_metadata(())
                path = headers.get(_REST_HEADER, "")
                return await abort(
                    context,
                    error,
                    request_id,
                    json_names=bool(path),
                    body="" if path.startswith(own_path) else body,
                    caller_known=subject is not None,
                    ids=for_gateway(ids, subject) if _GATEWAYS_HEADER in headers else (),
                )
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except CALL_IS_OVER:
                raise asyncio.CancelledError from None
            except Exception as fault:
                code = CODES[Reason.INTERNAL]
                _FAULTS.tell_error(f"{name} failed", fault, f"request {request_id}")
                if request is not None:
                    read_ids(ids, request, subject)
                return await abort(
                    context,
                    _INTERNAL,
                    request_id,
                    ids=for_gateway(ids, subject) if _GATEWAYS_HEADER in headers else (),
                )
            finally:
                took_s = seconds() - began
                counted.ended(code, took_s)
                if span:
                    TRACES.end(span, CODE_NAMES[code] if code else "")
                if CALL_LOG.tells_failure if code else CALL_LOG.tells_success:
                    if subject:
                        ids["caller"] = caller_id(subject)
                    if request is not None:
                        read_ids(ids, request, subject)
                    if code:
                        reason = "caller gone" if code == _CANCELLED else error.reason.value
                        CALL_LOG.failed(name, CODE_NAMES[code], reason, took_s, ids)
                    else:
                        CALL_LOG.succeeded(name, took_s, ids)

        return answer

    async def _subject(self, headers: dict[str, Any], context: ServicerContext) -> Subject:
        """Proves who calls. Subjects that are known already don't wait behind unknown tokens."""
        sent = headers.get("authorization", "")
        subject = self._authenticator.cached_subject(sent)
        if subject:
            return subject
        if self._authenticator.has_cached(sent):
            return await self._authenticator.authenticate(sent)
        checks = self._limits.token_checks
        address = self._addresses.of(headers, context.peer())
        checks.acquire(address)
        try:
            return await self._authenticator.authenticate(sent)
        finally:
            checks.release(address)


def _is_last(left_s: float, took_s: float) -> bool:
    """Tells whether there may be no time to try again for a caller who had so much, and waited so long."""
    return took_s > _AT_ONCE_S and left_s - took_s < _TRIES_AGAIN_S


def _permission(method: MethodDescriptor, *, read_only: bool) -> Permission:
    """Returns what a method's callers need for what it names."""
    if manages_access(method.full_name, method.GetOptions()):
        return Permission.MANAGE_ACCESS
    return Permission.READ if read_only else Permission.WRITE


async def _take_turn(turns: RoundRobin, caller: str, availability: Availability) -> None:
    """Has a call that takes long wait for its caller's turn, which must be released, since few run at once."""
    await in_time(turns.acquire(caller))
    if availability.refusal:
        turns.release()
        raise availability.refusal
