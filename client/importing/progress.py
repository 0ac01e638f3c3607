"""How far an import is: a bar in a terminal, lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

# Without a terminal a line is printed at most so often.
_LINES_S = 10.0
_NARROW = 60


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


class Steps:
    """Shows one thing that is done for many rows, such as checking them."""

    def __init__(self, console: Console, doing: str, total: int | None) -> None:
        """`total` is how many rows there are; None: that is not known yet."""
        self._console = console
        self._doing, self._total = doing, total
        self._done = 0
        self._since_s = self._told_s = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if console.is_terminal:
            narrow = console.width < _NARROW
            columns: list[str | ProgressColumn] = [TextColumn("{task.description}")]
            if total:
                count = TaskProgressColumn() if narrow else MofNCompleteColumn()
                columns += [BarColumn(bar_width=8 if narrow else None), count]
                columns += [_Rate(), TimeRemainingColumn(compact=narrow)]
            else:
                columns += [TextColumn("{task.completed:,.0f} rows"), _Rate()]
            self._bar = Progress(*columns, console=console, transient=True, expand=not narrow)
            self._task = self._bar.add_task(doing, total=total)

    def __enter__(self) -> "Steps":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def step(self) -> None:
        """One more row is done."""
        self._done += 1
        if self._bar:
            self._bar.advance(self._task)
        elif time.monotonic() - self._told_s >= _LINES_S:
            self._line()

    def tell(self, what: str) -> None:
        """Says what all waits for; "" when it goes on."""
        if what:
            say(self._console, what)

    def _line(self) -> None:
        now = time.monotonic()
        self._told_s = now
        rate = self._done / (now - self._since_s)
        told = f"{self._doing}: {self._done:,}"
        if self._total:
            left_s = (self._total - self._done) / rate
            told += f" of {self._total:,}, {rate:,.0f}/s, about {_spelled(left_s)} left"
        say(self._console, told)


def say(console: Console, text: str) -> None:
    """Prints a text, as one line where there is no terminal: a log's lines are not wrapped."""
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


def _spelled(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
