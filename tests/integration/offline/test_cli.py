"""`crowdstream render` as a program: files, messages, exit statuses, signals."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crowdstream.cli import main
from crowdstream.offline.progress import Progress
from tests.support.offline_server import RATE
from tests.support.server import PROJECT, WAIT_SECONDS, until

SET = "0 /deck/A/load numbers.wav\n0 /deck/A/rate 1.06\n0 /deck/A/eq/mid 0.4\n0 /deck/A/play\n"


def written(folder: Path, text: str = SET) -> str:
    path = folder / "mix.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crowdstream", "render", *arguments],
        cwd=PROJECT, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip


def test_rendering_is_bit_identical_each_time(folder: Path) -> None:
    path = written(folder, SET + "1.5 /set_tempo 124\n@4 /deck/A/seek 1")
    outs = [folder / "one.wav", folder / "two.wav"]
    for out in outs:
        second = int(time.time())
        until(lambda second=second: int(time.time()) > second)  # a date in the file would differ
        done = run(path, str(out), "--format", "float")
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        assert " times real time" in done.stdout
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert soundfile.info(outs[0]).frames > 2 * RATE


def test_the_default_format_is_24_bits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out.wav"
    assert main(["render", written(folder), str(out), "--quiet", "--duration", "1"]) == 0
    info = soundfile.info(out)
    assert (info.format, info.subtype, info.frames) == ("WAVEX", "PCM_24", RATE)
    captured = capsys.readouterr()
    assert not captured.out and not captured.err


def test_after_a_missing_page_rendering_restarts_with_all_pages_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(folder)
    outs = [folder / "one.wav", folder / "two.wav"]
    assert main(["render", path, str(outs[0])]) == 0
    monkeypatch.setattr("crowdstream.loader.loader.SHORT_READ_AHEAD", 0.01)
    assert main(["render", path, str(outs[1])]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_the_flags_of_the_server_are_accepted(folder: Path) -> None:
    out = folder / "out.flac"
    text = "0 /deck/A/load steady.wav\n@1 /deck/A/play"
    flags = ["--sample-rate", "48000", "--bpm", "90", "--base-bpm", "90", "--format", "16"]
    assert main(["render", written(folder, text), str(out), *flags]) == 0
    samples, rate = soundfile.read(out)
    assert rate == 48000
    assert int(np.flatnonzero(samples[:, 0])[0]) == 32000


@pytest.mark.parametrize(
    ("text", "flags", "status", "said"),
    [
        ("0 /deck/A/leap 1", [], 1, "mix.txt, line 1: /deck/A/leap: unknown address"),
        ("0 /deck/A/play", [], 1, "mix.txt, line 1: /deck/A/play: deck A has no track"),
        (SET, ["--cache-mb", "x"], 2, "cache_mb: 'x' (flag --cache-mb) is not"),
        (SET, ["--duration", "0"], 2, "--duration 0: must be more than 0"),
        (SET, ["--input", "absent.wav"], 1, "absent.wav: there is no such file"),
        (SET, ["--input", "a", "--input", "b", "--input", "c"], 2, "there are 2 inputs, not 3"),
        (SET, ["--format", "8"], 2, "argument --format: invalid choice"),
    ],
)
def test_an_error_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, flags: list[str], status: int,
    said: str,
) -> None:
    out = folder / "out.wav"
    try:
        got = main(["render", written(folder, text), str(out), *flags])
    except SystemExit as ended:
        got = int(ended.code or 0)
    assert got == status
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(folder.glob("*out*")) and not list(folder.glob(".*"))


def test_a_missing_folder_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", written(folder), str(folder / "no" / "out.wav")]) == 1
    assert "can't be written: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_render_and_leaves_no_file(folder: Path, number: signal.Signals) -> None:
    path = written(folder, SET.replace("/play", "/play 0 1") + "900000 end")
    program = subprocess.Popen(
        [sys.executable, "-m", "crowdstream", "render", path, str(folder / "out.wav")],
        cwd=PROJECT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def begun() -> bool:
        assert program.poll() is None
        return any(part.stat().st_size > 100_000 for part in folder.glob(".out.wav.*"))

    until(begun)
    program.send_signal(number)
    _, error = program.communicate(timeout=WAIT_SECONDS)
    assert program.returncode == 130
    assert "interrupted" in error and "Traceback" not in error
    assert not list(folder.glob("*out*")) and not list(folder.glob(".*"))


def test_a_progress_bar_is_shown_on_a_terminal(folder: Path) -> None:
    reader, terminal = pty.openpty()
    command = [sys.executable, "-m", "crowdstream", "render", written(folder, SET + "80000 end")]
    with subprocess.Popen(
        [*command, str(folder / "out.wav")], cwd=PROJECT, stderr=terminal, stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm"},
    ) as program:  # fmt: skip
        os.close(terminal)
        data = b""
        with contextlib.suppress(OSError):  # raised at the end of the output
            while b"left" not in data:
                data += os.read(reader, 4096)
            program.send_signal(signal.SIGINT)
            while True:
                data += os.read(reader, 4096)
        program.communicate(timeout=WAIT_SECONDS)
    os.close(reader)
    shown = data.decode()
    assert program.returncode == 130
    assert "%" in shown
    assert "\x1b[2K" in shown[shown.rindex("%") :], "the bar is removed"


class _Screen(io.StringIO):
    """A terminal that stores its output."""

    def isatty(self) -> bool:
        return True


def test_the_progress_bar_shows_the_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    now = [0.0]
    monkeypatch.setattr("crowdstream.offline.progress.time.monotonic", lambda: now[0])
    screen = _Screen()
    bar = Progress(screen, True, 100.0)
    assert not screen.getvalue(), "the bar appears with the first block"
    now[0] = 30.0
    bar.show(10_000, lambda: 40_000)
    bar.close()
    shown = screen.getvalue()
    assert "1:40" in shown and " 25%" in shown and "1:30 left" in shown
    silent = Progress(screen, False, 100.0)
    silent.show(1, lambda: 2)
    silent.close()
    assert screen.getvalue() == shown
