"""What is committed is text that people wrote or can read, but for what is listed here.

`git add` takes along what a run has left, such as a database, and nobody sees it among many files.
"""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 100_000
# By this git itself knows what is no text.
_NO_TEXT = b"\0"
# Made by `make gen`, `make baseline` and `make lock`; and a picture.
BINARY = {
    "docs/invitation.png",
    "gen/descriptors.pb",
    "gen/sandbox.pb",
    "gen/transcoded.pb",
    "proto/baseline.binpb",
}
LARGE = {
    "envoy.yaml",
    "gen/descriptors.pb",
    "gen/openapi.json",
    "gen/transcoded.pb",
    "proto/baseline.binpb",
    "requirements/bench.txt",
    "requirements/dev.txt",
    "requirements/run.txt",
}


def committed(folder: Path) -> list[str]:
    """Returns the files that git has, as paths from the folder of a checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=folder, capture_output=True, check=True)
    paths = [path for path in listed.stdout.decode().split("\0") if path]
    return [path for path in paths if (folder / path).is_file()]


def binary(folder: Path) -> set[str]:
    return {path for path in committed(folder) if _NO_TEXT in (folder / path).read_bytes()}


def large(folder: Path) -> set[str]:
    return {path for path in committed(folder) if (folder / path).stat().st_size > LARGEST_BYTES}


def test_only_files_that_are_listed_are_binary_or_large() -> None:
    assert binary(ROOT) == BINARY
    assert large(ROOT) == LARGE


@pytest.mark.parametrize(
    ("name", "content"),
    [("billing.db", b"SQLite format 3\0"), ("notes.txt", b"a" * (LARGEST_BYTES + 1))],
)
def test_a_file_that_was_left_behind_is_noticed(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert binary(tmp_path) | large(tmp_path) == set()
    subprocess.run(["git", "add", name], cwd=tmp_path, check=True)
    assert binary(tmp_path) | large(tmp_path) == {name}
