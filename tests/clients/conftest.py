"""Starts the service for the clients, runs each client once, and prints the table at the end."""

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.clients import environments
from tests.clients.fakes import answer_dropping_proxy, mail_server
from tests.service import Service, free_ports, running

_SCRIPT_S = 240


class Report(NamedTuple):
    """What a client's script said of one call. `note` tells why it failed."""

    ok: bool
    note: str


Reports = dict[str, Report]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """The service, and a dev.json that also tells what was set up around it."""
    var = tmp_path_factory.mktemp("clients") / "var"
    (smtp_port,) = free_ports(1)
    with ExitStack() as parts:
        page_port = parts.enter_context(_kept_port())
        origin = f"http://127.0.0.1:{page_port}"
        smtp_url = parts.enter_context(mail_server(smtp_port))
        service = parts.enter_context(running(var, smtp_url=smtp_url, cors_origins=origin))
        dropping = parts.enter_context(answer_dropping_proxy(service.grpc, Path(service.ca).parent))
        dev = json.loads((var / "dev.json").read_text())
        extended = var / "clients.json"
        extended.write_text(json.dumps({**dev, "dropping": dropping, "origin": origin}))
        yield service, extended


@contextmanager
def _kept_port() -> Iterator[int]:
    """Gives a port that nobody else finds free until, minutes later, the browser's client listens there."""
    (port,) = free_ports(1)
    with socket.socket() as kept:
        # As servers do: who does the same may listen, and `free_ports` does not.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", port))
        yield port


@pytest.fixture(scope="session")
def run(served: tuple[Service, Path]) -> Callable[[str, str], "subprocess.CompletedProcess[str]"]:
    """Runs a client's script: (client, script's name)."""
    service, extended = served

    def run_script(client: str, script: str) -> "subprocess.CompletedProcess[str]":
        words, variables = environments.command(client, script)
        return subprocess.run(
            [*words, str(extended)],
            env={"PATH": os.environ["PATH"], "BILLING_VAR": str(service.var), **variables},
            cwd=service.var,
            capture_output=True,
            text=True,
            timeout=_SCRIPT_S,
        )

    return run_script


@pytest.fixture(scope="session")
def reports(
    run: Callable[[str, str], "subprocess.CompletedProcess[str]"],
) -> Callable[[str], Reports]:
    """Returns what a client's script said, by call; it runs once."""
    known: dict[str, Reports] = {}

    def of(client: str) -> Reports:
        if client not in known:
            ran = run(client, "client")
            known[client] = {
                said["call"]: Report(said["ok"], said["note"])
                for said in map(json.loads, ran.stdout.splitlines())
            }
            assert ran.returncode == 0, ran.stderr
        return known[client]

    return of


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the table client × call of what tests recorded, in whichever process they ran."""
    known: dict[str, dict[str, str]] = {}
    for outcome, cell in {"passed": "ok", "failed": "FAILED"}.items():
        for report in terminalreporter.getreports(outcome):
            said = dict(report.user_properties)
            if "client" in said:
                known.setdefault(said["client"], {})[said["call"]] = cell
    calls = list(dict.fromkeys(call for said in known.values() for call in said))
    if not calls:
        return
    width = max(map(len, calls))
    terminalreporter.section("clients")
    terminalreporter.line("  ".join([" " * width, *known]))
    for call in calls:
        cells = [said.get(call, "").ljust(len(client)) for client, said in known.items()]
        terminalreporter.line("  ".join([call.ljust(width), *cells]).rstrip())
