"""Log-ins, and what goes wrong: one line that says what to do, and an exit code."""

import json
import stat
from pathlib import Path

import pytest

from tests.client.conftest import Run
from tests.service import Service, free_ports


def where(service: Service) -> list[str]:
    endpoint = service.rest_tls.removeprefix("https://")
    return ["--endpoint", endpoint, "--ca", service.ca, "--reseller", service.resellerId]


def test_a_service_account_logs_in_and_is_renewed(
    run: Run, service: Service, tmp_path: Path
) -> None:
    key = service.serviceAccountKey
    logged_in = run("login", *where(service), "--key-file", key)
    assert logged_in.code == 0, logged_in.err
    kept = [tmp_path / "config/profiles.json", *(tmp_path / "config/tokens").iterdir()]
    assert [stat.S_IMODE(file.stat().st_mode) for file in kept] == [0o600, 0o600]
    assert run("customers", "list", "--limit", "1").code == 0
    # A token that is no longer taken is made anew.
    token = json.loads(kept[1].read_text())
    kept[1].write_text(json.dumps({**token, "token": token["token"][:-8] + "AAAAAAAA"}))
    assert run("customers", "list", "--limit", "1").code == 0


def test_a_command_gives_tokens(run: Run, service: Service) -> None:
    command = f"printf %s {service.token}"
    assert run("login", *where(service), "--token-command", command, "--profile", "sso").code == 0
    assert run("--profile", "sso", "customers", "list", "--limit", "1").code == 0
    assert run("profile", "list").out.startswith("* sso\t")
    failing = run(
        "login", *where(service), "--token-command", "sh -c 'echo no such user >&2; exit 3'"
    )
    assert failing.code == 4
    assert "no such user" in failing.err


def test_the_environment_goes_before_the_profile(
    run: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("login", *where(service), "--key-file", service.serviceAccountKey).code == 0
    monkeypatch.setenv("BILLING_CLI_TOKEN", "no-token")
    refused = run("customers", "list")
    assert refused.code == 4
    assert "billing login" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["customers", "list"], 4, "billing login"),
        (["--profile", "none", "customers", "list"], 2, "no profile 'none'"),
        (["login", "--endpoint", "localhost:1"], 2, "--key-file"),
        (["login", "--endpoint", "localhost:1", "--key-file", "/none"], 4, "No such file"),
        (["customers", "nonsense"], 2, "No such command"),
        (["customers", "invite", "--name", "x"], 2, "--email"),
        (["events", "watch", "--forward-to", "ftp://x"], 4, "billing login"),
    ],
)
def test_wrong_usage_is_told(run: Run, words: list[str], code: int, says: str) -> None:
    done = run(*words)
    assert (done.code, says in done.err) == (code, True), done.err
    assert "Traceback" not in done.err


def test_a_service_that_is_away(
    run: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("BILLING_CLI_TOKEN", service.token)
    [port] = free_ports(1)
    done = run(
        "--endpoint", f"localhost:{port}", "--reseller", service.resellerId, "customers", "list"
    )
    assert done.code == 3
    assert "does not answer" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_certificate_of_another_authority(
    run: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("BILLING_CLI_TOKEN", service.token)
    endpoint = service.rest_tls.removeprefix("https://")
    done = run("--endpoint", endpoint, "--reseller", service.resellerId, "customers", "list")
    assert done.code == 3
    assert "--ca" in done.err


def test_make_run_that_does_not_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_VAR", str(tmp_path))
    done = run("--dev", "customers", "list")
    assert done.code == 2
    assert "make run" in done.err


def test_refusals_name_the_fields(dev: Run) -> None:
    done = dev("customers", "invite", "--name", "x", "--email", "nobody")
    assert done.code == 1
    assert "email" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_defect_is_one_line(dev: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.output.Output.many", None)
    done = dev("customers", "list")
    assert done.code == 1
    assert done.err.startswith("billing: a defect of this program: TypeError: ")
    assert len(done.err.splitlines()) == 1
