"""`billing-server dev` from the wheel alone, in a folder where there is nothing else."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from server.dev.ports import free_ports
from server.stop_signal import until_stopped
from tests.service import ROOT, eventually

DEV = [sys.executable, "-c", "import billing_service; billing_service.server()", "dev"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def environment(site: Path, **settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")}
    return {**clean, "PYTHONPATH": str(site), **settings}


@contextmanager
def started(
    site: Path, folder: Path, *words: str, code: int = 0
) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs `billing-server dev` from the wheel's files, until the block ends at most.

    It is to end with the code.
    """
    with (
        (folder / "output.txt").open("ab") as out,
        subprocess.Popen(
            [*DEV, *words],
            cwd=folder,
            env=environment(site),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == code


def ready(process: "subprocess.Popen[bytes]", file: Path) -> dict[str, str]:
    """Returns what dev.json says, once it is there."""

    def read() -> dict[str, str] | None:
        assert process.poll() is None, (file.parents[1] / "output.txt").read_text()
        return json.loads(file.read_text()) if file.exists() else None

    return eventually(read, 60)


def test_two_run_side_by_side_in_any_folder(site: Path, elsewhere: Path) -> None:
    other = ("--var", "other", "--until-eof")
    with (
        started(site, elsewhere, "--ports", "auto") as first,
        started(site, elsewhere, "--ports", "auto", *other) as second,
    ):
        found = [
            ready(first, elsewhere / "var/dev.json"),
            ready(second, elsewhere / "other/dev.json"),
        ]
        names = ("rest", "rest_tls", "grpc", "smtp", "bounces")
        places = [each[name] for each in found for name in names]
        assert len(set(places)) == len(places)
        for each in found:
            headers = {"authorization": f"Bearer {each['token']}"}
            answer = httpx.get(f"{each['rest']}/v1/operations", headers=headers)
            assert answer.status_code == 200, answer.text
        assert {each.name for each in elsewhere.iterdir()} == {"var", "other", "output.txt"}
        printed = (elsewhere / "output.txt").read_text()
        _, _, call = printed.partition("The same by gRPC:\n")
        call, _, _ = call.partition("END\n\n")
        done = subprocess.run(
            ["sh"],
            input=textwrap.dedent(f"{call}END\n"),
            cwd=elsewhere,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 'description: "Invite customer"' in done.stdout, done.stderr
        # Here the stubs are known anyway, of a venv with the wheel they are not.
        assert f"PYTHONPATH={site}/billing_service/gen " in call
        # Whoever started it has ended, in whatever way.
        assert second.stdin
        second.stdin.close()
        assert second.wait(30) == 0
        assert not (elsewhere / "other/dev.json").exists()


def test_ctrl_c_before_it_is_ready_is_one_line(site: Path, elsewhere: Path) -> None:
    (elsewhere / "var").mkdir()
    output = elsewhere / "output.txt"
    with closing(sqlite3.connect(elsewhere / "var/billing.db", isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")  # so that no tables can be made
        with started(site, elsewhere, "--ports", "auto", code=128 + signal.SIGINT):
            eventually(lambda: "starting" in output.read_text(), 60)
        (_, line) = output.read_text().splitlines()
        assert line == "stopping before it was ready …"
        held.execute("ROLLBACK")
        assert held.execute("SELECT count(*) FROM sqlite_master").fetchall() == [(0,)]


def test_it_goes_on_when_nobody_reads_its_output_and_ends_with_its_terminal(
    site: Path, elsewhere: Path
) -> None:
    file = elsewhere / "var/dev.json"
    with subprocess.Popen(
        [*DEV, "--ports", "auto"],
        cwd=elsewhere,
        env=environment(site),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            assert process.stdout
            for line in process.stdout:
                if line.startswith(b"Ctrl-C"):
                    break
            process.stdout.close()
            told = json.loads(file.read_text())

            def another(name: str, before: int) -> bool:
                return children(process.pid, name) not in ([], [before])

            def answers() -> bool:
                headers = {"authorization": f"Bearer {told['token']}"}
                try:
                    answer = httpx.get(f"{told['rest']}/v1/operations", headers=headers)
                except httpx.TransportError:
                    return False
                return answer.status_code == 200

            # Twice: the first line that nobody reads may still find room.
            for name in ("server.sandbox", "envoy", "server.sandbox", "envoy"):
                (before,) = children(process.pid, name)
                os.kill(before, signal.SIGKILL)
                eventually(partial(another, name, before), 60)
                eventually(answers, 60)
        finally:
            process.send_signal(signal.SIGHUP)
            code = process.wait(60)
    assert code == 0
    assert not file.exists()


def children(parent: int, name: str) -> list[int]:
    """Returns the processes that this one has started with the name among their words."""
    found = []
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = words.read_bytes().split(b"\0")
            state = (words.parent / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(state[1]) == parent and any(Path(os.fsdecode(each)).name == name for each in line):
            found.append(int(words.parent.name))
    return found


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_stops_what_does_not_ignore_it(ignored: bool) -> None:
    code = """
import asyncio, os, signal, sys
from server.stop_signal import stop_signal

async def main():
    stop = stop_signal()
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.2)
    print(stop.done())

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL
        ),
    )
    assert done.stdout == f"{not ignored}\n"


async def test_what_watches_over_parts_does_not_end_unseen() -> None:
    async def fails() -> None:
        raise ConnectionError

    async def goes_on() -> None:
        await asyncio.get_running_loop().create_future()

    watching = [asyncio.create_task(each()) for each in (goes_on, fails)]
    with pytest.raises(ConnectionError):
        await until_stopped(asyncio.get_running_loop().create_future(), watching)
    assert watching[0].cancelled()


def test_ports_that_are_held_are_given_to_nobody_else() -> None:
    with free_ports(3) as ours, free_ports(3) as theirs:
        assert len({*ours, *theirs}) == 6


def test_what_is_wrong_with_a_setting_is_one_line(site: Path, elsewhere: Path) -> None:
    done = subprocess.run(
        [*DEV, "--ports", "auto"],
        cwd=elsewhere,
        env=environment(site, BILLING_SMTP_URL="nonsense"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: BILLING_SMTP_URL: ")


def test_little_is_read_before_the_server_starts() -> None:
    # Each takes a tenth of a second and more, in which no process of the run does anything else.
    slow = ("sqlalchemy", "grpc", "google", "aiohttp", "jinja2", "gateway")
    code = (
        "import sys, server.commands, server.dev.stack; "
        f"print([name for name in {slow} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
