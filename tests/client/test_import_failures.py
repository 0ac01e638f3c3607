"""An import under bad circumstances: one line that says what to do; nothing lost, nothing twice."""

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from client.importing.results import Result, Results
from tests.client.conftest import Run
from tests.client.spreadsheets import invited, results, rows, write_csv
from tests.service import ROOT, Service, eventually, free_ports, running


class _Mail:
    """Takes e-mails but for some addresses."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that lets a caller make 40 calls a second, with a mail server that refuses some."""
    [port] = free_ports(1)
    mail = Controller(_Mail(), "127.0.0.1", port)
    mail.start()
    var = tmp_path_factory.mktemp("service") / "var"
    try:
        with running(var, rate_limit=40, smtp_url=f"smtp://127.0.0.1:{port}") as started:
            yield started
    finally:
        mail.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "customers.csv"


def start(
    service: Service, file: Path, before: Callable[[], None] | None = None
) -> "subprocess.Popen[str]":
    """Starts an import in a process of its own, in which `before` is called first."""

    def prepare() -> None:
        # What runs in the background ignores Ctrl-C, and so would its children.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if before:
            before()

    return subprocess.Popen(
        [sys.executable, "-m", "client", "--dev", "customers", "import", str(file)],
        cwd=ROOT,
        env={**os.environ, "BILLING_VAR": str(service.var)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )


def last_line(process: "subprocess.Popen[str]") -> str:
    """Waits for its end, and returns the last line that it wrote of what went wrong."""
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    return said.splitlines()[-1]


def goes_on(dev: Run, file: Path, content: list[list[str]]) -> None:
    """Runs the import again: now each has been invited, once."""
    done = dev("customers", "import", str(file))
    assert done.code == 0, done.err
    assert invited(dev, content) == sorted(row[1] for row in content)
    assert len(results(file)) == len(content)


def test_an_import_obeys_the_rate_limit_and_ends(dev: Run, file: Path) -> None:
    content = rows(60)
    write_csv(file, content)
    done = dev("customers", "import", str(file))
    assert (done.code, done.out.split(";")[0]) == (0, "60 invited")
    assert invited(dev, content) == sorted(row[1] for row in content)


def test_a_corrected_address_is_invited_by_the_next_run(dev: Run, file: Path) -> None:
    content = rows(3)
    right = content[1][1]
    content[1][1] = f"nobody-{right}"
    write_csv(file, content)
    done = dev("customers", "import", str(file), "--wait")
    assert (done.code, done.out.split(";")[0]) == (
        1,
        "2 invited, 1 with e-mails that could not be sent",
    )
    failed = results(file)[1]
    assert (failed["state"], failed["error"] != "") == ("FAILED", True)
    content[1][1] = right
    write_csv(file, content)
    mended = dev("customers", "import", str(file), "--wait")
    assert (mended.code, mended.out.split(";")[0]) == (0, "1 invited, 2 done before"), mended.err
    assert results(file)[1]["operation"] != failed["operation"]
    assert invited(dev, content) == sorted(row[1] for row in content)


def test_a_full_disk_stops_the_import_and_the_next_run_goes_on(
    dev: Run, service: Service, file: Path
) -> None:
    content = rows(20)
    write_csv(file, content)
    # No file may grow beyond: as on a disk that is full.
    most = 1_000

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    process = start(service, file, limit)
    said = last_line(process)
    assert process.returncode == 1
    assert f"{file}.results.csv can't be written (File too large)" in said
    assert "nobody is invited twice" in said
    assert 0 < len(results(file)) < len(content)
    goes_on(dev, file, content)


def test_nothing_is_sent_where_results_can_not_be_written(dev: Run, file: Path) -> None:
    content = rows(2)
    write_csv(file, content)
    Path(f"{file}.results.csv").mkdir()
    done = dev("customers", "import", str(file))
    assert (done.code, invited(dev, content)) == (1, [])
    assert "Is a directory" in done.err.splitlines()[-1]


def test_ctrl_c_keeps_what_was_answered_and_the_next_run_goes_on(
    dev: Run, service: Service, file: Path
) -> None:
    content = rows(600)
    write_csv(file, content)
    process = start(service, file)
    result_file = Path(f"{file}.results.csv")
    eventually(lambda: result_file.exists() and result_file.read_bytes().count(b"\n") > 2)
    process.send_signal(signal.SIGINT)
    said = last_line(process)
    assert process.returncode == 130
    assert "run the same command again, it goes on" in said
    assert f"{len(results(file))} invited" in said
    goes_on(dev, file, content)


def test_nothing_is_sent_of_a_file_that_changes_while_it_is_read(
    dev: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = rows(3)
    write_csv(file, content)

    def grow(_: object) -> None:
        with file.open("a") as text:
            text.write("one more\n")

    with monkeypatch.context() as patched:
        patched.setattr("client.importing.progress.Steps.step", grow)
        # Without end.
        done = dev("customers", "import", str(file))
    assert (done.code, invited(dev, content)) == (1, [])
    assert "changed while it was read" in done.err.splitlines()[-1]


def test_a_second_import_of_a_file_is_refused(dev: Run, file: Path) -> None:
    write_csv(file, rows(1))
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = dev("customers", "import", str(file))
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "already" in done.err


class Wire:
    """Passes bytes on between the client and the service, until it is cut."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._open += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while got := one.recv(65_536):
                other.sendall(got)

    def cut(self) -> None:
        """Ends all connections, and takes no more."""
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def test_a_service_that_goes_away_stops_the_import_and_the_next_run_goes_on(
    dev: Run, service: Service, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = rows(40)
    write_csv(file, content)
    monkeypatch.setattr("client.importing.window._GIVE_UP_AFTER_S", 0.5)
    wire = Wire(int(service.rest_tls.rpartition(":")[2]))
    add = Results.add
    added: list[Result] = []

    def add_and_cut(self: Results, result: Result) -> None:
        add(self, result)
        added.append(result)
        if len(added) == 4:
            wire.cut()

    monkeypatch.setattr(Results, "add", add_and_cut)
    done = dev("--endpoint", f"localhost:{wire.port}", "customers", "import", str(file))
    assert done.code == 3
    assert "does not answer" in done.err.splitlines()[-1]
    assert 0 < len(results(file)) < len(content)
    goes_on(dev, file, content)


def test_a_refused_token_is_renewed_by_the_key(
    run: Run, service: Service, file: Path, tmp_path: Path
) -> None:
    write_csv(file, rows(10))
    endpoint = service.rest_tls.removeprefix("https://")
    where = ("--endpoint", endpoint, "--ca", service.ca, "--reseller", service.resellerId)
    assert run("login", *where, "--key-file", service.serviceAccountKey).code == 0
    # The key makes another one, for all calls that are out.
    [kept] = (tmp_path / "config/tokens").iterdir()
    token = json.loads(kept.read_text())
    kept.write_text(json.dumps({**token, "token": token["token"][:-8] + "AAAAAAAA"}))
    done = run("customers", "import", str(file))
    assert (done.code, done.out.split(";")[0]) == (0, "10 invited"), done.err


def test_a_refused_token_without_a_key_stops_the_import(
    run: Run, service: Service, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(file, rows(10))
    monkeypatch.setenv("BILLING_CLI_TOKEN", "expired")
    endpoint = service.rest_tls.removeprefix("https://")
    where = ("--endpoint", endpoint, "--ca", service.ca, "--reseller", service.resellerId)
    done = run(*where, "customers", "import", str(file))
    assert done.code == 4
    assert "renew BILLING_CLI_TOKEN" in done.err.splitlines()[-1]
    assert results(file) == []


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        (b"", (), "is empty"),
        (b"\n\n", (), "is empty"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", (), "save it as .xlsx"),
        (b"PK\x03\x04nonsense", (), "is no XLSX file"),
        (b"name,email\n\xff\xfe\x00\x01,x\n", ("--encoding", "utf-8"), "the right --encoding"),
        (b"name,email\n", ("--encoding", "klingon"), "--encoding"),
        (b"name,email\n", ("--encoding", "base64"), "--encoding"),
        (b"name,email\n", ("--encoding", "utf-16"), "is not UTF-16: say the right --encoding"),
        (b"name,email,E-Mail\n", (), "are for the same"),
        (b"name,email\n", ("--columns", "name"), "HEADER=FIELD"),
        (b"\x00\x01\x02\x03" * 99, (), "no column"),
    ],
)
def test_files_that_can_not_be_read_are_refused_in_one_line(
    dev: Run, file: Path, content: bytes, words: tuple[str, ...], says: str
) -> None:
    file.write_bytes(content)
    done = dev("customers", "import", str(file), *words)
    assert done.code in (1, 2)
    assert says in done.err.splitlines()[-1], done.err


def test_a_second_import_of_a_file_saved_anew_is_refused(dev: Run, file: Path) -> None:
    content = rows(3)
    write_csv(file, content)
    # Another import, whose lock is of the spreadsheet that was there before.
    other = Results(Path(f"{file}.results.csv"))
    other.replace([])
    done = dev("customers", "import", str(file))
    assert (done.code, results(file)) == (1, [])
    assert "is being written by another import" in done.err.splitlines()[-1]
    assert sorted(each.name for each in file.parent.glob("*.csv*")) == [
        file.name,
        f"{file.name}.results.csv",
    ]
    other.replace([])
    other.close()
    goes_on(dev, file, content)


def test_a_pipe_is_refused(dev: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = dev("customers", "import", str(tmp_path / "pipe"))
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "is no file" in done.err


def test_a_missing_file_or_a_folder_is_refused_in_one_line(
    dev: Run, file: Path, tmp_path: Path
) -> None:
    for path, says in ((file, "No such file"), (tmp_path, "Is a directory")):
        done = dev("customers", "import", str(path))
        assert (done.code, len(done.err.splitlines())) == (1, 1)
        assert says in done.err


def test_a_zip_file_that_is_no_xlsx_is_refused(dev: Run, file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("content.xml", "<nothing/>")
    done = dev("customers", "import", str(file))
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "is no XLSX file" in done.err
