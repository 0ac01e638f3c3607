"""A run of many inputs against the whole service: hypothesis makes and shrinks them, the contract judges."""

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import described_inputs, grpc_inputs, mutated_requests, page_inputs, raw_inputs
from tests.fuzz.contract import Accepted, ContractViolation, check_answer, check_rest
from tests.fuzz.discovery import discover
from tests.fuzz.inputs import Input, Known
from tests.fuzz.probes import Memory, Rows
from tests.fuzz.raw_wire import Outcome, RawExchange
from tests.fuzz.wire import H2Client, exchange_h1
from tests.service import Service

# Of inputs that ask for no deadline of their own.
WITHIN_S = 5.0
# By then Envoy has given up on what it takes for the beginning of a request (408), where its parser
# bears more than h11 does: headers have 10 s to arrive, the whole has 30.
_ENVOY_WAITS_S = 33.0
_WAITED_FOR = "raw: waited for"
_SLOWEST = 5

# Each family with its share of a run, in per cent.
FAMILIES: dict[str, tuple[int, Callable[[Known], st.SearchStrategy[Input]]]] = {
    "gRPC messages, metadata and frames": (30, grpc_inputs.calls),
    "REST by schemathesis": (25, described_inputs.described),
    "REST mutated as text": (22, mutated_requests.mutated),
    "pages": (3, page_inputs.pages),
    "raw HTTP/1.1": (10, raw_inputs.h1_bytes),
    "raw HTTP/2": (10, raw_inputs.h2_frames),
}


# What the service is started with: nothing that is there to slow callers down.
SETTINGS: dict[str, Any] = {
    "rate_limit": 0,
    "unknown_links_per_min": 10**9,
    "resend_interval_s": 0,
}


@dataclass
class Finding:
    """A violation of the contract: the smallest input found that shows it."""

    family: str
    violation: str
    sent: Input
    times: int = 1


@dataclass
class Counts:
    """What a run has seen."""

    inputs: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    slowest: list[tuple[float, str, str]] = field(default_factory=list)

    def took(self, seconds: float, family: str, what: str) -> None:
        self.slowest.append((seconds, family, what))
        if len(self.slowest) > 100:
            self._cut()

    def _cut(self) -> None:
        self.slowest = sorted(self.slowest, reverse=True)[:_SLOWEST]

    def worst(self) -> list[tuple[float, str, str]]:
        """Returns the slowest answers: seconds, family, what was asked."""
        self._cut()
        return self.slowest


class Campaign:
    """Sends inputs one after another and holds each answer, and the database, to the contract."""

    def __init__(self, service: Service, keep: Path) -> None:
        self._keep = keep
        self.counts = Counts()
        self.memory = Memory.of(service.process.pid)
        self._service = service
        self._gateway = _address(service.rest)
        self._clients = {
            "rest-h2": H2Client(self._gateway),
            "grpc": H2Client(self._gateway),
            "grpc-direct": H2Client(_address(service.grpc)),
        }
        self._rows = Rows(service.var / "billing.db")
        self._family = ""
        # Calls whose outcome nobody knows: what they write may show later.
        self._unsettled = 0
        self._waiting: list[tuple[float, Input, RawExchange]] = []
        self._shrinking = ""

    def close(self) -> None:
        """Closes the connections."""
        self._rows.close()
        for client in self._clients.values():
            client.close()

    def known(self) -> Known:
        """Makes things for inputs to name, all new, and returns them."""
        known = discover(self._service)
        self._rows.added()
        return known

    def invite_behind_its_back(self) -> None:
        """Writes rows that no input asked for."""
        self._service.invite()

    def run(
        self,
        family: str,
        count: int,
        number: int,
        known: Known,
        sent: Callable[[], object] = lambda: None,
    ) -> None:
        """Sends about `count` inputs of a family, the same for the same `number`; counts violations."""
        self._family = family

        def one(given_input: Input) -> None:
            sent()
            self.send(given_input)

        strategy = FAMILIES[family][1](known)
        with suppress(ContractViolation, ExceptionGroup):
            seed(number)(
                settings(
                    max_examples=count,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.generate, Phase.shrink],
                    print_blob=False,
                )(given(strategy)(one))
            )()
        self._store(known)

    def send(self, sent: Input) -> None:
        """Sends one input; raises ContractViolation where the answer, or a row, is outside the contract."""
        self.counts.inputs[self._family] += 1
        started = time.monotonic()
        try:
            accepted = self._exchange(sent)
            self._check_rows(accepted)
        except ContractViolation as violation:
            # What it wrote is not the next one's doing.
            self._rows.added()
            self._found(sent, str(violation))
        else:
            self.counts.labels[accepted.label] += 1
        what = sent.method or sent.transport
        self.counts.took(time.monotonic() - started, self._family, what)

    def _exchange(self, sent: Input) -> Accepted:
        if sent.transport in ("raw-h1", "raw-h2"):
            return self._exchange_raw(sent)
        within_s = WITHIN_S + min(sent.deadline_s or 0.0, WITHIN_S)
        if sent.transport == "rest-h1":
            return check_answer(sent, exchange_h1(self._gateway, sent, within_s))
        return check_answer(sent, self._clients[sent.transport].exchange(sent, within_s))

    def _exchange_raw(self, sent: Input) -> Accepted:
        exchange = RawExchange(self._gateway, sent)
        outcome = exchange.soon()
        if outcome.end == "silent":
            self._waiting.append((time.monotonic() + _ENVOY_WAITS_S, sent, exchange))
            return Accepted(_WAITED_FOR, False)
        exchange.close()
        return _check_raw(outcome)

    def settle(self) -> None:
        """Waits for the answers that did not come at once, and judges them."""
        waiting, self._waiting = self._waiting, []
        for until, sent, exchange in waiting:
            outcome = exchange.read(max(0.0, until - time.monotonic()))
            exchange.close()
            self.counts.labels[_WAITED_FOR] -= 1
            try:
                self.counts.labels[f"{_check_raw(outcome).label}, late"] += 1
            except ContractViolation as violation:
                with suppress(ContractViolation):
                    self._found(sent, str(violation))

    def _check_rows(self, accepted: Accepted) -> None:
        added = self._rows.added()
        if accepted.wrote is None:
            self._unsettled += 1
        elif added and not accepted.wrote and not self._unsettled:
            raise ContractViolation(f"a call that was refused wrote to {', '.join(sorted(added))}")
        elif accepted.wrote:
            # Whatever was still under way is in order of arrival behind us now.
            self._unsettled = 0

    def _found(self, sent: Input, violation: str) -> None:
        self.counts.labels[f"BREACH {violation}"] += 1
        known = self.counts.findings.get(violation)
        if known is None:
            self.counts.findings[violation] = Finding(self._family, violation, sent)
            self._shrinking = violation
            raise ContractViolation(violation)
        known.times += 1
        if _size(sent) < _size(known.sent):
            known.sent = sent
        # Hypothesis looks for a smaller input while the first one's batch lasts.
        if self._shrinking == violation:
            raise ContractViolation(violation)

    def _store(self, known: Known) -> None:
        self._shrinking = ""
        self._keep.mkdir(parents=True, exist_ok=True)
        for number, finding in enumerate(self.counts.findings.values()):
            file = self._keep / f"{number:03}.json"
            stored = finding.sent.to_json(known.secrets)
            file.write_text(
                json.dumps({"violation": finding.violation, "input": stored}, indent=1) + "\n"
            )

    def died(self) -> bool:
        """Whether a process of the service is no longer the one that was started."""
        return not all(psutil.pid_exists(pid) for pid in self.memory.pids())


def _size(sent: Input) -> int:
    return len(sent.body) + sum(len(name) + len(value) for name, value in sent.headers)


def _check_raw(outcome: Outcome) -> Accepted:
    """Judges what came of bytes: every whole answer as any other, and that there was one where due."""
    if outcome.end == "silent":
        raise ContractViolation("no answer to raw bytes, and no end of the connection")
    accepted = [check_rest(answer) for answer in outcome.answers if answer.end == "whole"]
    wrote = any(each.wrote for each in accepted)
    label = ", ".join(sorted({each.label for each in accepted})) or outcome.end
    return Accepted(f"raw: {label}", wrote)


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)
