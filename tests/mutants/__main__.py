"""`make mutants`: makes each change of the lists in a copy of the checkout and runs its tests there.

Prints which share the tests notice by area; exit code 1 below 95 % of those that are no equivalents,
in any area, or if a list does not fit the code. build/mutants.tsv says which test noticed each.
"""

import argparse
import fnmatch
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from queue import SimpleQueue

import psutil
from tqdm import tqdm

from tests.mutants.mutants import AREAS, ROOT, ListError, Mutant, mutants
from tests.storage.databases import SHARED_SERVER, postgres_server

WANTED = 0.95
# What came of each, and which test noticed.
KEPT = ROOT / "build" / "mutants.tsv"
# Of one mutant's tests; what takes longer hangs, and that is noticed.
LONGEST_S = 300
# All other plugins, which no test of the lists uses, take longer to load than most of them to run.
_PLUGINS = ("-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider")
_PYTEST = ("-m", "pytest", *_PLUGINS, "-q", "-x", "--tb=line")
# Of pytest: all passed; some failed. Anything else: they did not run.
_PASSED, _FAILED = 0, 1
# In a copy: where its tests keep their files.
_TEMPORARY = "t"


class Outcome(Enum):
    """What the tests said."""

    NOTICED = "noticed"
    NOT_NOTICED = "not noticed"
    NOT_RUN = "the tests did not run"


@dataclass(frozen=True)
class Run:
    """What came of one mutant."""

    mutant: Mutant
    outcome: Outcome
    output: str

    @property
    def noticed_by(self) -> str:
        """The test that failed, as pytest names it."""
        failed = [line for line in self.output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0] if failed else " ".join(self.output.split())[-200:]

    @property
    def is_as_listed(self) -> bool:
        """Whether it was noticed, or not if it is an equivalent."""
        wanted = Outcome.NOT_NOTICED if self.mutant.equivalent else Outcome.NOTICED
        return self.outcome is wanted


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("areas", nargs="*", help=f"only these of {', '.join(AREAS)}")
    parser.add_argument("--only", default="*", help="those whose name matches, like '*lock*'")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once")
    asked = parser.parse_args()
    if unknown := set(asked.areas) - set(AREAS):
        parser.error(f"no such area: {', '.join(sorted(unknown))}")
    try:
        wanted = [
            mutant
            for mutant in mutants(tuple(asked.areas) or AREAS)
            if fnmatch.fnmatch(mutant.name, asked.only)
        ]
        for mutant in wanted:
            mutant.text(ROOT)
    except ListError as error:
        print(f"The list does not fit the code: {error}")
        return 1
    if not wanted:
        parser.error("no mutant has such a name")
    # A short name: paths of sockets have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="m") as folder, postgres_server() as shared:
        os.environ[SHARED_SERVER] = shared
        # Run by root, PostgreSQL is another user's, and must find its way.
        Path(folder).chmod(0o711)
        copies: SimpleQueue[Path] = SimpleQueue()
        jobs = max(1, asked.jobs)
        for number in range(jobs):
            copies.put(_copy(Path(folder) / str(number)))
        if failing := _failing_without_any(wanted, copies, jobs):
            print("Without any change tests fail already:", *failing, sep="\n")
            return 1
        runs = _run_all(wanted, copies, jobs)
    return _report(runs)


def _copy(folder: Path) -> Path:
    """Copies what git knows, and what is new, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return folder


def _failing_without_any(
    wanted: Sequence[Mutant], copies: SimpleQueue[Path], jobs: int
) -> list[str]:
    """Runs all tests of the list on the code as it is; returns what pytest says of those that fail."""
    tests = sorted({test for mutant in wanted for test in mutant.tests})

    def run(test: str) -> tuple[int, str]:
        with _taken(copies) as copy:
            return _pytest(copy, [test], longest_s=2 * LONGEST_S)

    with ThreadPoolExecutor(jobs) as pool:
        runs = tqdm(pool.map(run, tests), "without any", len(tests), unit="module")
        return [output for code, output in runs if code != _PASSED]


def _run_all(wanted: Sequence[Mutant], copies: SimpleQueue[Path], jobs: int) -> list[Run]:
    runs = []
    KEPT.parent.mkdir(exist_ok=True)
    with (
        ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(wanted), unit="mutant") as bar,
        KEPT.open("w") as kept,
    ):
        begun = [pool.submit(_run, mutant, copies) for mutant in wanted]
        try:
            for done in as_completed(begun):
                run = done.result()
                runs.append(run)
                print(
                    run.outcome.value, run.mutant, run.noticed_by, sep="\t", file=kept, flush=True
                )
                if not run.is_as_listed:
                    bar.write(f"{run.outcome.value}: {run.mutant}")
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return runs


def _run(mutant: Mutant, copies: SimpleQueue[Path]) -> Run:
    with _taken(copies) as copy:
        file = copy / mutant.path
        before = file.read_text()
        file.write_text(mutant.text(copy))
        try:
            selection = ("-k", mutant.on) if mutant.on else ()
            code, output = _pytest(copy, [*mutant.tests, *selection], longest_s=LONGEST_S)
        finally:
            file.write_text(before)
    outcomes = {_PASSED: Outcome.NOT_NOTICED, _FAILED: Outcome.NOTICED}
    return Run(mutant, outcomes.get(code, Outcome.NOT_RUN), output)


@contextmanager
def _taken(copies: SimpleQueue[Path]) -> Iterator[Path]:
    """Takes a copy for as long as the block lasts."""
    copy = copies.get()
    try:
        yield copy
    finally:
        copies.put(copy)


def _pytest(copy: Path, tests: Sequence[str], *, longest_s: float) -> tuple[int, str]:
    """Runs tests in a copy; returns pytest's exit code and its last lines."""
    environment = {
        **os.environ,
        # Before the checkout itself, which the virtual environment has on its path.
        "PYTHONPATH": os.pathsep.join([str(copy), str(copy / "gen")]),
        # Two changes of a file within a second have the same time.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TMPDIR": str(copy / _TEMPORARY),
    }
    # That of this process's database, which those that tests run by themselves can't use.
    environment.pop("XDG_RUNTIME_DIR", None)
    (copy / _TEMPORARY).mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, *_PYTEST, *tests],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=longest_s)
        code = process.returncode
    except subprocess.TimeoutExpired:
        output, code = f"still running after {longest_s} s", _FAILED
        process.kill()
    finally:
        _end_what_is_left(copy)
    return code, "\n".join(output.splitlines()[-15:])


def _end_what_is_left(copy: Path) -> None:
    """Ends servers of tests that were cut short: all that works in the copy, databases too."""
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] and copy in (Path(process.info["cwd"]) / "x").parents:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    shutil.rmtree(copy / _TEMPORARY, ignore_errors=True)


def _report(runs: Sequence[Run]) -> int:
    print(f"\n{'area':10}{'mutants':>9}{'equivalent':>12}{'noticed':>9}{'of the rest':>13}")
    good = True
    for area in [*AREAS, "all"]:
        own = [run for run in runs if area in (run.mutant.area, "all")]
        rest = [run for run in own if not run.mutant.equivalent]
        if not rest:
            continue
        noticed = sum(run.outcome is Outcome.NOTICED for run in rest)
        share = noticed / len(rest)
        good &= share >= WANTED
        print(f"{area:10}{len(own):9}{len(own) - len(rest):12}{noticed:9}{share:13.1%}")
    for run in runs:
        if run.outcome is Outcome.NOT_RUN:
            print(f"\n{run.mutant}: the tests did not run:\n{run.output}")
            good = False
        elif not run.is_as_listed:
            print(f"\n{run.mutant}: {run.outcome.value} ({run.mutant.path})")
            # An equivalent that is noticed is none.
            good &= not run.mutant.equivalent
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
