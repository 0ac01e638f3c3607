"""What outlives a stop, a crash and a mail server that is away."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.service import ROOT, Service, environment, eventually, free_ports, refusal, running


@pytest.fixture
def without_mail(tmp_path: Path) -> dict[str, str]:
    """The environment of a service whose mail server is not there yet."""
    (smtp,) = free_ports(1)
    return {
        **environment(tmp_path / "var"),
        "BILLING_SMTP_URL": f"smtp://127.0.0.1:{smtp}",
        "BILLING_SMTP_PORT": str(smtp),
        "BILLING_MAIL_FIRST_RETRY_S": "0.2",
        "BILLING_MAIL_LONGEST_RETRY_S": "0.5",
        "BILLING_MAIL_LEASE_S": "2",
    }


def cancel(service: Service, operation_id: str) -> dict[str, object]:
    answer = httpx.post(
        f"{service.rest}/operations/{operation_id}:cancel", headers=service.headers, json={}
    )
    found: dict[str, object] = answer.json()
    return found


def test_a_restart_goes_on_where_it_was(without_mail: dict[str, str]) -> None:
    var = Path(without_mail["BILLING_VAR"])
    with running(var, without_mail) as service:
        token = service.token
        address = (body := service.invitation())["invitationEmail"]
        begun = service.invite(**body)
        late = eventually(
            lambda: (
                (now := service.operation(begun["id"]))["description"] != "Invite customer" and now
            )
        )
        assert late["done"] is False
        assert re.fullmatch(
            r"Invite customer: at attempt \d+ the mail server can't be reached;"
            r" next attempt at 2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
            late["description"],
        )
        assert service.stop() == 0
        assert not (var / "dev.json").exists()
    with_mail = {name: value for name, value in without_mail.items() if name != "BILLING_SMTP_URL"}
    with running(var, with_mail) as service:
        assert service.token == token
        assert "response" in service.finished(begun["id"])
        assert len(service.mails_to(address)) == 1


def revoke_token(service: Service) -> None:
    answer = httpx.post(
        f"{service.rest}/iam/v1/tokens:revoke",
        headers=service.headers,
        json={"iamToken": service.token},
    )
    assert answer.status_code == 200, answer.text


def take_role(service: Service) -> None:
    who = json.loads((service.var / "keys" / "dev.json").read_text())
    command = [sys.executable, "-m", "server", "roles", "revoke", who["subject_id"]]
    command += ["billing.accounts.owner", service.resellerId]
    subprocess.run(command, cwd=ROOT, env=service.environment, check=True)


@pytest.mark.parametrize("revoke", [revoke_token, take_role])
def test_a_revoked_development_token_stays_revoked(
    tmp_path: Path, revoke: Callable[[Service], None]
) -> None:
    env = environment(tmp_path / "var")
    with running(tmp_path / "var", env) as service:
        revoked = service.headers
        revoke(service)
    with running(tmp_path / "var", env) as service:
        path = f"{service.rest}/v1/operations"
        assert httpx.get(path, headers=revoked).status_code == 401
        assert httpx.get(path, headers=service.headers).status_code == 200


def test_a_cancelled_invitation_leaves_nothing_behind(without_mail: dict[str, str]) -> None:
    with running(Path(without_mail["BILLING_VAR"]), without_mail) as service:
        body = service.invitation()
        begun = service.invite(**body)
        cancel(service, begun["id"])
        ended = service.finished(begun["id"])
        assert ended["error"]["code"] == 1
        assert "response" not in ended
        again = service.invite(**body)
        assert again["id"] != begun["id"]


def test_a_killed_server_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "var", mail_lease_s=2) as service:
        bodies = [service.invitation() for _ in range(20)]
        begun = [service.invite(**body) for body in bodies]
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        for child in children.read_text().split():
            if b"serve" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)

        def answers_again() -> bool:
            try:
                return httpx.get(
                    f"{service.rest}/operations/{begun[0]['id']}", headers=service.headers
                ).is_success
            except httpx.TransportError:
                return False

        eventually(answers_again)
        for operation, body in zip(begun, bodies, strict=True):
            assert "response" in service.finished(operation["id"])
            mails = service.mails_to(body["invitationEmail"])
            assert mails
            assert len({mail["Message-ID"] for mail in mails}) == 1


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("BILLING_HTTP_PORT", "http", "BILLING_HTTP_PORT"),
        ("BILLING_GRPC_PORT", "70000", "BILLING_GRPC_PORT"),
        ("BILLING_SMTP_URL", "ftp://example.com", "BILLING_SMTP_URL"),
        ("BILLING_DATABASE_URL", "oracle://x", "BILLING_DATABASE_URL"),
        ("BILLING_MAIL_FROM", "not an address", "BILLING_MAIL_FROM"),
        ("BILLING_RATE_LIMIT", "-1", "BILLING_RATE_LIMIT"),
    ],
)
def test_a_broken_setting_is_one_clear_line(
    tmp_path: Path, variable: str, value: str, hint: str
) -> None:
    line = refusal({**environment(tmp_path / "var"), variable: value}, "dev")
    assert hint in line


def test_a_taken_port_is_one_clear_line(service: Service, tmp_path: Path) -> None:
    env = environment(tmp_path / "var")
    taken = service.rest.rpartition(":")[2]
    line = refusal({**env, "BILLING_HTTPS_PORT": taken}, "dev")
    assert taken in line
    assert "BILLING_HTTPS_PORT" in line
