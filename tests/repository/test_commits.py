"""Commits say what changed in one short line, and why below it."""

import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LONGEST_SUBJECT = 72
# Older commits are as they are.
LAST_UNCHECKED = "bf453498aa9a2e83267a9bfa4af9f613999dd075"
_FIELD, _COMMIT = "\x1f", "\x1e"


class Commit(NamedTuple):
    hash: str
    subject: str
    body: str


def commits() -> list[Commit]:
    """Returns those since the rule began, as far as the clone reaches; merges have their own form."""
    history = _git("rev-list", "--no-merges", "HEAD", f"^{LAST_UNCHECKED}")
    if not history:  # a shallow clone that does not reach so far back
        history = _git("rev-list", "--no-merges", "--max-count=1", "HEAD")
    assert history, "there is no git checkout here"
    text = _git("show", "--no-patch", f"--format=%h{_FIELD}%s{_FIELD}%b{_COMMIT}", *history.split())
    return parsed(text)


def parsed(text: str) -> list[Commit]:
    """Returns the commits that git has shown in our format."""
    # Not all white space: the separators are some, and a body may be empty.
    shown = [each.strip("\n") for each in text.split(_COMMIT)]
    return [Commit(*each.split(_FIELD)) for each in shown if each]


def faults(commit: Commit) -> list[str]:
    """Returns what is wrong with a commit's message."""
    found = []
    if len(commit.subject) > LONGEST_SUBJECT:
        found.append(f"the subject has {len(commit.subject)} characters, {LONGEST_SUBJECT} at most")
    if len(commit.body.split()) < 3:
        found.append("the body must say problem, reason and what was measured")
    return found


def test_every_commit_has_a_short_subject_and_a_body() -> None:
    wrong = {f"{each.hash} {each.subject}": faults(each) for each in commits()}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_a_long_subject_and_a_missing_body_are_noticed() -> None:
    assert len(faults(Commit("0", "x" * 73, ""))) == 2
    assert faults(Commit("0", "x" * 72, "Problem, reason, measurement.")) == []


def test_commits_are_read_as_git_shows_them() -> None:
    bare = Commit("a1", "A subject", "")
    assert parsed("a1\x1fA subject\x1f\x1e\nb2\x1fAnother\x1fA body.\n\x1e\n") == [
        bare,
        Commit("b2", "Another", "A body."),
    ]
    assert faults(bare) != []


def _git(*command: str) -> str:
    outcome = subprocess.run(
        ["git", "-C", ROOT, *command], capture_output=True, text=True, check=False
    )
    return outcome.stdout
