"""A progress bar on a terminal, with the time left."""

from __future__ import annotations

from typing import TextIO

REFRESH_A_SECOND = 4


class ProgressBar:
    """Occupies the last line of the terminal `out` until it is closed, and then disappears."""

    def __init__(self, out: TextIO, description: str = "") -> None:
        # Importing Rich takes a tenth of a second, and most commands show no bar.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False), console=Console(file=out),
            transient=True, refresh_per_second=REFRESH_A_SECOND,
        )  # fmt: skip
        self._bar.start()
        self._task = self._bar.add_task(description, total=None, left="")

    def describe(self, description: str) -> None:
        """Change the text before the bar."""
        self._bar.update(self._task, description=description)

    def show(
        self, description: str, completed: float, total: float, seconds: float | None = None
    ) -> None:
        """Show `completed` of `total`, and the `seconds` left if they are known."""
        left = "" if seconds is None else f"{format_duration(seconds)} left"
        self._bar.update(
            self._task, description=description, completed=completed, total=total, left=left
        )

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()


def format_duration(seconds: float) -> str:
    """Format a duration as players do: 3:05, 1:02:03."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
