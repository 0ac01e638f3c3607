"""Whatever a process writes to stderr has the form that is set, and quotes nobody's data."""

import json
import logging
import subprocess
import sys
from logging.handlers import BufferingHandler
from pathlib import Path

import pytest

from server.gateway_runner import keep_gateway
from server.telemetry import logs
from tests.service import ROOT, command, environment

PERSONAL = "ostap@example.com"
# What libraries, Python and faults of ours would write, each with somebody's address.
_FAULTS = f"""
import asyncio, logging, threading, warnings
from server import console
from server.telemetry import logs

class Refused(Exception):
    def __str__(self):
        return "duplicate key: Key (email)=({PERSONAL}) exists"

class Leaving:
    def __del__(self):
        raise Refused

def fail():
    raise Refused

async def fail_later():
    raise Refused

async def work():
    logging.getLogger("dkimpy").debug("sign headers: {PERSONAL}")
    logging.getLogger("psycopg").warning("error ignored in %s: %s, %d left", "close", Refused(), 3)
    logging.getLogger("psycopg").warning(Refused())
    logging.getLogger("psycopg").error("%(who)s", {{"who": "{PERSONAL}"}})
    logging.getLogger("server.some").error("%d of %d", 1)
    logging.getLogger("server.some").error("no UTF-8: \\udcff, \\u2028")
    logging.getLogger("server.some").debug("told")
    try:
        fail()
    except Refused:
        logging.getLogger("sqlalchemy.pool").exception("Exception during reset")
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Leaving()
    task = asyncio.ensure_future(fail_later())
    await asyncio.wait([task])
    del task
    fail()

console.settings_and_log()
warnings.simplefilter("default")
try:
    console.run(work())
except Exception as fault:
    console.end_by_fault(fault)
"""
_TOLD = (
    "error ignored in str: Refused, 3 left",
    "Refused",
    "str",
    "no UTF-8: \udcff, \u2028",
    "told",
    "Exception during reset",
    "a thread has ended",
    "an object's end failed",
    "Task exception was never retrieved",
    "ended by a fault",
)


@pytest.mark.parametrize("format_", ["json", "text"])
def test_no_fault_quotes_anybody(tmp_path: Path, format_: str) -> None:
    env = environment(tmp_path / "var", log_format=format_, log_level="debug")
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert PERSONAL not in done.stderr
    if format_ == "json":
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        told = [line["message"] for line in lines]
        assert [text for text in told if "DeprecationWarning" not in text] == list(_TOLD)
        assert len(told) == len(_TOLD) + 1
        assert all("Refused" in line["trace"] for line in lines if "trace" in line)
    else:
        assert all(f": {text}" in done.stderr for text in (_TOLD[0], *_TOLD[4:]))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"BILLING_HTTP_PORT": "0"}, "BILLING_HTTP_PORT"),
        ({"BILLING_HTTP_PROT": "1"}, "BILLING_HTTP_PORT was probably meant"),
        ({"BILLING_DATABASE_URL": "sqlite:////no/such/folder/x.db"}, "/no/such/folder"),
        ({}, "BILLING_SMTP_URL"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_why_a_process_does_not_start_is_json_too(
    tmp_path: Path, wrong: dict[str, str], words: str, in_file: bool
) -> None:
    env = environment(tmp_path / "var") | wrong
    if in_file:
        config = tmp_path / "billing.toml"
        config.write_text('log_format = "json"\n')
        env["BILLING_CONFIG"] = str(config)
    else:
        env["BILLING_LOG_FORMAT"] = "json"
    words_of_command = (
        ["serve"] if not wrong or "DATABASE" not in str(wrong) else ["serve", "--dev"]
    )
    done = command(env, *words_of_command)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = map(json.loads, done.stderr.splitlines())
    assert line["level"] == "ERROR"
    assert words in line["message"]


async def test_an_envoy_that_does_not_stay_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.gateway_runner._RESTART_S", 0)

    class Dying:
        deaths = 0

        async def died(self) -> str:
            self.deaths += 1
            if self.deaths > 100:
                raise EOFError
            return "Envoy ended with code 1"

        async def start(self) -> None:
            pass

    with pytest.raises(EOFError):
        await keep_gateway(Dying())  # type: ignore[arg-type]  # all of a gateway that it uses
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == [
        "Envoy ended with code 1; starting it again"
    ]


def test_other_handlers_get_lines_as_they_were() -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    other = BufferingHandler(capacity=10)
    try:
        logs.configure("text", "info")
        root.addHandler(other)
        logging.getLogger("psycopg").warning("%s", PERSONAL)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert [record.getMessage() for record in other.buffer] == [PERSONAL]
