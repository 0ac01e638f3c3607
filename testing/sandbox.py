"""The sandbox, as a process that ends with the tests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_S = 120.0
_STOP_S = 30.0
_LOOK_S = 0.02
_CODE = "import billing_service; billing_service.server()"


@dataclass(frozen=True)
class BillingService:
    """A running sandbox.

    rest, rest_tls: what REST paths, and gRPC's channels without their scheme, begin with; ca: file of
    the certificate that TLS is verified by; grpc: host:port of gRPC without TLS; var: its folder;
    token, reseller_id: of a reseller that all tests share.
    """

    rest: str
    rest_tls: str
    ca: str
    grpc: str
    var: Path
    token: str
    reseller_id: str


@contextmanager
def started(folder: Path) -> Iterator[BillingService]:
    """Runs a sandbox that keeps all in a folder, until the block ends; raises RuntimeError."""
    var = folder / "var"
    output = folder / "output.txt"
    # Its standard input ends with this process, however that ends, and it with that.
    with (
        output.open("wb") as out,
        subprocess.Popen(  # noqa: S603 - ours
            [
                # -P: what is in the folder of the tests is not for it.
                *(sys.executable, "-P", "-c", _CODE, "dev", "--var", str(var)),
                *("--ports", "auto", "--until-eof"),
            ],
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            # A Ctrl-C is for the tests, which may go on calling as they end.
            start_new_session=True,
        ) as process,
    ):
        try:
            dev = _ready(process, var / "dev.json", output)
            yield BillingService(
                **{name: dev[name] for name in ("rest", "rest_tls", "ca", "grpc", "token")},
                var=var,
                reseller_id=dev["resellerId"],
            )
        finally:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _environment() -> dict[str, str]:
    """Settings of another service, which may stand in the environment, are not this one's."""
    return {
        name: value for name, value in os.environ.items() if not name.upper().startswith("BILLING_")
    }


def _ready(process: "subprocess.Popen[bytes]", file: Path, output: Path) -> dict[str, Any]:
    """Returns what dev.json says, once it is there; raises RuntimeError."""
    give_up_at = time.monotonic() + _START_S
    while not file.exists():
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"the billing service did not start: {output.read_text()}")
        time.sleep(_LOOK_S)
    found: dict[str, Any] = json.loads(file.read_text())
    return found
