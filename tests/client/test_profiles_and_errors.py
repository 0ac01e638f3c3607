"""Log-ins, and what goes wrong: one line that says what to do, and an exit code."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.conftest import Run
from tests.service import ROOT, Service, free_ports


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
    assert "renew BILLING_CLI_TOKEN" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["customers", "list"], 4, "billing login"),
        (["--profile", "none", "customers", "list"], 2, "no profile 'none'"),
        (["login", "--endpoint", "localhost:1"], 2, "--key-file"),
        (["login", "--endpoint", "localhost:1", "--key-file", "/none"], 4, "No such file"),
        (
            ["customers", "nonsense"],
            2,
            "No such command 'nonsense'; see `billing customers --help`",
        ),
        (["custmers"], 2, "Did you mean 'customers'? See `billing --help`"),
        (["customers", "list", "--dev"], 2, "before the command: `billing --dev …`"),
        (["--endpoint", "http://localhost", "customers", "list"], 2, "host:port"),
        (["customers", "invite", "--name", "x"], 2, "--email"),
        (["events", "watch", "--forward-to", "ftp://x"], 4, "billing login"),
    ],
)
def test_wrong_usage_is_told(run: Run, words: list[str], code: int, says: str) -> None:
    done = run(*words)
    assert (done.code, says in done.err) == (code, True), done.err
    assert len(done.err.splitlines()) == 1


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
    where = ("--endpoint", f"https://{endpoint}/", "--reseller", service.resellerId)
    done = run(*where, "customers", "list")
    assert done.code == 3
    # Repeating mends nothing here.
    assert done.err.endswith("name the authority that signed it with --ca FILE\n")


def test_make_run_that_does_not_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_VAR", str(tmp_path))
    done = run("--dev", "customers", "list")
    assert done.code == 2
    assert "make run" in done.err


def test_refusals_name_the_fields(dev: Run) -> None:
    done = dev("customers", "invite", "--name", "", "--email", "nobody")
    assert done.code == 1
    assert done.err.count("customer.email: ") == done.err.count("customer.display_name: ") == 1
    assert len(done.err.splitlines()) == 1


def test_a_refusal_names_the_roles(dev: Run) -> None:
    done = dev("--reseller", "bacaaaaaaaaaaaaaaaaa", "customers", "list")
    assert done.code == 1
    assert "billing.accounts.viewer" in done.err


def test_a_defect_is_one_line(dev: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.output.Output.many", None)
    done = dev("customers", "list")
    assert done.code == 1
    assert done.err.startswith("billing: a defect of this program: TypeError: ")
    assert len(done.err.splitlines()) == 1


def start(
    words: list[str], stdout: int = subprocess.PIPE, /, **env: str
) -> "subprocess.Popen[bytes]":
    """Starts `billing`, in a process of its own that obeys Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-m", "client", *words],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_ctrl_c_while_the_program_is_loaded(tmp_path: Path) -> None:
    # What is imported first waits for us.
    (tmp_path / "click.py").write_text(
        "import sys, time\nsys.stderr.write('loading\\n')\nsys.stderr.flush()\ntime.sleep(60)\n"
    )
    with start(["customers", "list"], PYTHONPATH=str(tmp_path)) as process:
        assert process.stderr
        assert process.stderr.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"billing: stopped\n"
        assert process.wait(30) == 130


def test_ctrl_c_while_events_are_watched(service: Service) -> None:
    with start(
        ["--dev", "events", "watch", "--after", ""], BILLING_VAR=str(service.var)
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().count(b"\t") == 4
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().strip() == b"billing: stopped"
        assert process.wait(30) == 130


def test_other_encodings_of_the_terminal(service: Service) -> None:
    env = {"BILLING_VAR": str(service.var), "PYTHONIOENCODING": "ascii:strict"}
    made = start(["--dev", "customers", "create", "--name", "Рога", "-o", "json"], **env)
    out, err = made.communicate(timeout=60)
    assert made.returncode == 0, err
    # Programs get UTF-8, people what their terminal can show.
    name = json.loads(out)["name"]
    shown = start(["--dev", "customers", "get", name], **env)
    assert b"\\u0420\\u043e\\u0433\\u0430" in shown.communicate(timeout=60)[0]
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    lost = start(["--dev", "customers", "create", "--name", "Рога"], **env, **plain)
    assert b"C.UTF-8" in lost.communicate(timeout=60)[1]
    assert lost.returncode == 2


@pytest.mark.parametrize(
    "words", [["--help"], ["customers", "list", "--help"], ["events", "--help"]]
)
def test_output_that_nobody_reads_ends_it_quietly(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with start(words, writer) as process:
        os.close(writer)
        assert process.stderr
        assert (process.stderr.read(), process.wait(60)) == (b"", 141)
