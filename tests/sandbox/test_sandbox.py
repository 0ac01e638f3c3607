"""What the sandbox has beside the service: a clock to wind, test recipients, faults."""

import asyncio
import base64
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from aiohttp import web
from billing.sandbox.v1 import sandbox_service_pb2, sandbox_service_pb2_grpc
from standardwebhooks import Webhook

from tests.service import Service, command, environment, eventually, refusal, running
from tests.worker.webhooks.receivers import receiving


class Reseller:
    """A reseller of its own, by REST."""

    def __init__(self, service: Service) -> None:
        made = httpx.post(f"{service.rest}/sandbox/v1/resellers", json={}).raise_for_status().json()
        self.id = made["resellerId"]
        self.token = made["token"]
        self.rest = httpx.Client(
            base_url=service.rest, headers={"authorization": f"Bearer {self.token}"}, timeout=60
        )

    def invite(self, email: str, **headers: str) -> httpx.Response:
        body = {"resellerId": self.id, "name": "Horns", "invitationEmail": email, "person": {}}
        return self.rest.post("/billing/v1/customers:invite", json=body, headers=headers)

    def invited(self, email: str) -> dict[str, Any]:
        """Invites, and returns the operation once it has ended."""
        begun = self.invite(email).raise_for_status().json()
        return eventually(lambda: self.ended(begun["id"]))

    def ended(self, operation_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] = self.get(f"/operations/{operation_id}")
        return found if found["done"] else None

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rest.get(path).raise_for_status().json()
        return found

    def events(self) -> list[str]:
        found = self.get(f"/v1/resellers/{self.id}/events").get("events", [])
        return [each["type"] for each in found]

    def emails(self, to: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/sandbox/v1/emails?to={to}").get("emails", [])
        return found

    def advance(self, by: timedelta) -> datetime:
        answer = self.rest.post(
            "/sandbox/v1/clock:advance", json={"duration": f"{by.total_seconds():.0f}s"}
        )
        return datetime.fromisoformat(answer.raise_for_status().json()["time"])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(
        tmp_path_factory.mktemp("sandbox") / "var",
        request_timeout_s=60,
        mail_first_retry_s=10,
        mail_longest_retry_s=10,
    ) as started:
        yield started


def _reseller(sandbox: Service) -> Iterator[Reseller]:
    made = Reseller(sandbox)
    with made.rest:
        yield made


reseller = pytest.fixture(_reseller, name="reseller")
another = pytest.fixture(_reseller, name="another")


@pytest.mark.parametrize(
    ("recipient", "event"),
    [
        ("accept", "invitation.accepted"),
        ("Accept.42", "invitation.accepted"),
        ("decline", "invitation.declined"),
        ("bounce", "invitation.bounced"),
    ],
)
def test_what_becomes_of_an_invitation_is_in_its_address(
    reseller: Reseller, recipient: str, event: str
) -> None:
    ended = reseller.invited(f"{recipient}@sandbox.example")
    assert "response" in ended
    eventually(lambda: any(event in each for each in reseller.events()))
    assert any("invitation.sent" in each for each in reseller.events())


def test_a_refused_recipient_ends_the_operation(reseller: Reseller) -> None:
    ended = reseller.invited("refuse@sandbox.example")
    (info,) = (each for each in ended["error"]["details"] if "reason" in each)
    assert info["reason"] == "RECIPIENT_REFUSED"
    assert reseller.emails() == []


def test_addresses_without_a_fate_are_never_answered(reseller: Reseller) -> None:
    for address in ("ignore@sandbox.example", "accept@example.com", "acceptance@sandbox.example"):
        assert "response" in reseller.invited(address)
    reseller.advance(timedelta(minutes=1))
    assert not any("accepted" in each for each in reseller.events())


def test_a_delay_and_an_answer_go_by_the_clock(reseller: Reseller) -> None:
    begun = reseller.invite("delay+3600s@sandbox.example").raise_for_status().json()
    eventually(
        lambda: "451" in self_description(reseller, begun["id"]) or None,
    )
    reseller.invited("accept+86400s@sandbox.example")
    reseller.advance(timedelta(hours=2))
    assert "response" in (reseller.ended(begun["id"]) or {})
    assert not any("accepted" in each for each in reseller.events())
    reseller.advance(timedelta(days=1))
    assert any("accepted" in each for each in reseller.events())


def self_description(reseller: Reseller, operation_id: str) -> str:
    found: str = reseller.get(f"/operations/{operation_id}")["description"]
    return found


def test_a_month_goes_by_with_all_that_follows(reseller: Reseller) -> None:
    reseller.invited("ignore@sandbox.example")
    before = datetime.now(UTC)
    at = reseller.advance(timedelta(days=31))
    assert at >= before + timedelta(days=31)
    now = datetime.fromisoformat(reseller.get("/sandbox/v1/clock")["time"])
    assert at <= now <= at + timedelta(minutes=5)
    told = [each for each in reseller.events() if "expir" in each]
    assert told == ["invitation.expiring", "invitation.expired"]


async def test_webhooks_are_due_with_the_time_and_signed_by_the_real_one(
    reseller: Reseller,
) -> None:
    told: list[str] = []
    refused = True

    async def take(request: web.Request) -> web.Response:
        if refused:
            return web.Response(status=503)
        event = webhook.verify(await request.read(), dict(request.headers))
        told.append(event["type"])
        return web.Response()

    async with receiving(take) as url:
        path = f"/v1/resellers/{reseller.id}/webhooks"
        made = await asyncio.to_thread(reseller.rest.post, path, json={"url": url})
        webhook = Webhook(made.raise_for_status().json()["secret"])
        await asyncio.to_thread(reseller.invited, "ignore@sandbox.example")
        # An hour of failures, then 31 days: whoever verifies goes by the clock on the wall.
        await asyncio.to_thread(reseller.advance, timedelta(hours=1))
        refused = False
        await asyncio.to_thread(reseller.advance, timedelta(days=31))
        assert "invitation.expired" in reseller.events()
        happened = [each for each in reseller.events() if each != "webhook.created"]
        assert told == [f"billing.{each}.v1" for each in happened]
        await asyncio.to_thread(reseller.rest.delete, f"/v1/{made.json()['name']}")


def test_the_clock_does_not_go_back_at_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "var") as first:
        reseller = Reseller(first)
        with reseller.rest:
            reseller.invited("ignore@sandbox.example")
            wound = reseller.advance(timedelta(days=20))
        # As a run that is killed: what was wound is on the disk before the call returns.
        first.process.kill()
        first.process.wait()
        (first.var / "dev.json").unlink()  # by which `running` knows that all is up
        token, reseller_id = reseller.token, reseller.id
    with running(tmp_path / "var", first.environment) as second:
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.get(f"{second.rest}/sandbox/v1/clock", headers=headers)
        assert datetime.fromisoformat(answer.raise_for_status().json()["time"]) >= wound
        again = httpx.post(
            f"{second.rest}/sandbox/v1/clock:advance",
            headers=headers,
            json={"duration": "950400s"},
            timeout=60,
        )
        assert again.status_code == 200, again.text
        found = httpx.get(f"{second.rest}/v1/resellers/{reseller_id}/events", headers=headers)
        assert "invitation.expired" in found.text


@pytest.mark.parametrize("duration", ["0s", "-1s", "31622401s"])
def test_the_clock_goes_on_and_not_too_far(reseller: Reseller, duration: str | None) -> None:
    answer = reseller.rest.post("/sandbox/v1/clock:advance", json={"duration": duration})
    assert answer.status_code == 400
    assert "366 days" in answer.text


def test_no_length_of_time_winds_the_clock(sandbox: Service, reseller: Reseller) -> None:
    metadata = (("authorization", f"Bearer {reseller.token}"),)
    with grpc.insecure_channel(sandbox.rest.removeprefix("http://")) as channel:
        stub: Any = sandbox_service_pb2_grpc.SandboxServiceStub(channel)
        for nanos in (-1, 10**9):
            asked = sandbox_service_pb2.AdvanceClockRequest()
            asked.duration.seconds, asked.duration.nanos = 1, nanos
            with pytest.raises(grpc.RpcError, match="Its nanos must be") as refused:
                stub.AdvanceClock(asked, metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_resellers_see_their_own_e_mails(reseller: Reseller, another: Reseller) -> None:
    for each in (reseller, another):
        each.invited("same@example.com")
        (email,) = each.emails("same@example.com")
        assert "Sandbox reseller" in email["subject"]
        assert email["link"] in email["text"]
        assert b"same@example.com" in base64.b64decode(email["content"])
    assert reseller.emails("same@example.com") != another.emails("same@example.com")


def test_a_reset_empties_ones_own_reseller(
    sandbox: Service, reseller: Reseller, another: Reseller
) -> None:
    for each in (reseller, another):
        each.invited("same@example.com")
    bounced = f"bounce.{uuid.uuid4()}@sandbox.example"
    reseller.invited(bounced)
    eventually(lambda: "invitation.bounced" in reseller.events())
    assert reseller.rest.post("/sandbox/v1:reset", json={}).status_code == 200
    assert reseller.events() == []
    assert reseller.emails() == []
    assert reseller.get("/v1/operations")["operations"] == []
    stranger = reseller.rest.post("/sandbox/v1:reset", json={"resellerId": another.id})
    assert stranger.status_code == 403
    assert len(another.emails()) == 1
    for address in ("same@example.com", bounced):
        assert "response" in reseller.invited(address)
    assert [each for each in reseller.events() if "invited" in each] == ["customer.invited"] * 2
    assert "0 of" in sandbox.command("check")


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("unavailable", 503, "STORAGE_UNAVAILABLE"),
        ("deadline", 504, "DEADLINE_EXCEEDED"),
        ("rate", 429, "RATE_EXCEEDED"),
        ("internal", 500, "INTERNAL"),
        ("nonsense", 400, "FIELDS_INVALID"),
    ],
)
def test_a_call_fails_as_its_header_asks(
    reseller: Reseller, fault: str, status: int, reason: str
) -> None:
    answer = reseller.rest.get("/v1/operations", headers={"x-sandbox-fault": fault})
    assert (answer.status_code, reason in answer.text) == (status, True)
    assert reseller.rest.get("/v1/operations").status_code == 200


def test_work_may_be_done_although_the_call_fails(reseller: Reseller) -> None:
    key = str(uuid.uuid4())
    failed = reseller.invite(
        "ignore@sandbox.example",
        **{"x-sandbox-fault": "done-unavailable", "idempotency-key": key},
    )
    assert failed.status_code == 503
    assert "retry-after" in failed.headers
    again = reseller.invite("ignore@sandbox.example", **{"idempotency-key": key})
    assert again.status_code == 200
    assert [each for each in reseller.events() if "customer.invited" in each] != []
    assert len(reseller.get("/v1/operations")["operations"]) == 1


def test_the_sandbox_service_answers_by_grpc(sandbox: Service, reseller: Reseller) -> None:
    metadata = (("authorization", f"Bearer {reseller.token}"),)
    with grpc.insecure_channel(sandbox.rest.removeprefix("http://")) as channel:
        stub: Any = sandbox_service_pb2_grpc.SandboxServiceStub(channel)
        clock = stub.GetClock(sandbox_service_pb2.GetClockRequest(), metadata=metadata)
        assert clock.time.seconds > 0
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetClock(sandbox_service_pb2.GetClockRequest())
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_many_processes_say_that_they_are_no_sandbox(tmp_path: Path) -> None:
    with running(tmp_path / "var", workers=2) as many:
        assert "no sandbox" in many.output.read_text()
        for verb, path in (("GET", "clock"), ("POST", "clock:advance"), ("POST", "resellers")):
            answer = httpx.request(
                verb,
                f"{many.rest}/sandbox/v1/{path}",
                json={"duration": "1s"}
                if path == "clock:advance"
                else {}
                if verb == "POST"
                else None,
                headers=many.headers,
            )
            assert answer.status_code == 404, answer.text
            assert "BILLING_WORKERS=1" in answer.text
        headers = {**many.headers, "x-sandbox-fault": "rate"}
        assert httpx.get(f"{many.rest}/v1/operations", headers=headers).status_code == 429


def test_a_database_of_others_is_not_taken(tmp_path: Path) -> None:
    ours = environment(tmp_path / "ours")
    assert command(ours, "migrate").returncode == 0
    assert command(ours, "resellers", "add", "Horns and Hooves").returncode == 0
    line = refusal(ours, "dev")
    assert line.startswith("error: BILLING_DATABASE_URL: the database has resellers")
    assert command(ours, "resellers", "list").stdout.count("Horns") == 1


def test_it_is_for_this_machine_alone(tmp_path: Path, service: Service) -> None:
    certificate = service.var / "tls" / "localhost.pem"
    env = environment(tmp_path / "var", address="0.0.0.0", tls_certificate=certificate)
    env["BILLING_TLS_KEY"] = str(service.var / "tls" / "localhost.key")
    assert refusal(env, "dev").startswith("error: BILLING_ADDRESS: a sandbox is for this machine")
