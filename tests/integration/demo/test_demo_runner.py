"""The demo as a program: it starts and ends its server cleanly and shows an informative status."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from crowdstream.demo import runner, server
from crowdstream.system.port_holders import free_port
from tests.support.environment import PROJECT, child_environment
from tests.support.server import WAIT_SECONDS, until

QUICK = PROJECT / "tests" / "support" / "quick_demo.py"


def start(tmp_path: Path, *options: str) -> "subprocess.Popen[str]":
    # A free port, because other tests may run in parallel.
    port = ("--port", str(free_port())) if "--port" not in options else ()
    command = [sys.executable, str(QUICK), "--cache", str(tmp_path), *port, *options]
    return subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(process: "subprocess.Popen[str]", text: str) -> str:
    """Read the program's output up to a line with `text`."""
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"{text!r} was not printed, but: {seen}")


def children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


def test_the_demo_ends_after_the_given_seconds(tmp_path: Path) -> None:
    with start(tmp_path, "--duration", "1") as demo:
        out, err = demo.communicate(timeout=WAIT_SECONDS)
    assert demo.returncode == 0, err
    assert "no sound card found, running on the built-in clock" in out
    assert "A: Low Tide" in out
    assert f"page on http://the.page/?of={tmp_path / 'tracks'}\n" in out
    assert "underruns 3" in out
    assert "\x1b" not in out
    assert err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_and_its_server(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as demo:
        wait_for(demo, "A: Low Tide")
        below = children(demo)
        assert below
        demo.send_signal(number)
        _, err = demo.communicate(timeout=WAIT_SECONDS)
    assert demo.returncode == 0
    assert err == ""
    assert not any(child.is_running() for child in below)


def test_a_server_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    with start(tmp_path, "--stubborn") as demo:
        wait_for(demo, "A: Low Tide")
        below = children(demo)
        # A second signal, as from an impatient user, does not cut the shutdown short.
        demo.send_signal(signal.SIGINT)
        until(lambda: "not ending" in (tmp_path / "server.log").read_text())
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=WAIT_SECONDS)
    assert demo.returncode == 0
    assert not any(child.is_running() for child in below)


def test_a_server_that_fails_to_start_is_reported_in_one_line(tmp_path: Path) -> None:
    with start(tmp_path, "--die") as demo:
        _, err = demo.communicate(timeout=WAIT_SECONDS)
    assert demo.returncode == 1
    assert err.count("\n") == 1
    assert "error: device 'moon' not found" in err
    assert str(tmp_path / "server.log") in err


def test_a_server_that_dies_while_playing_is_reported_in_one_line(tmp_path: Path) -> None:
    with start(tmp_path, "--die-later") as demo:
        _, err = demo.communicate(timeout=WAIT_SECONDS)
    assert demo.returncode == 1
    assert err.count("\n") == 1
    assert "the sound card was unplugged" in err


def test_a_closed_output_ends_the_demo_quietly(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        wait_for(demo, "A: Low Tide")
        below = children(demo)
        assert demo.stdout
        demo.stdout.close()
        assert demo.wait(WAIT_SECONDS) == 0
        assert demo.stderr
        assert demo.stderr.read() == ""
    assert not any(child.is_running() for child in below)


def test_the_status_line_is_rewritten_on_a_terminal(tmp_path: Path) -> None:
    main, side = pty.openpty()
    command = [sys.executable, str(QUICK), "--cache", str(tmp_path), "--port", str(free_port())]
    environment = child_environment(PYTHONIOENCODING="utf-8")
    with subprocess.Popen(command, stdout=side, stderr=side, env=environment) as demo:
        os.close(side)
        text = b""
        while text.count("\r\x1b[KA▕".encode()) < 2:
            text += os.read(main, 4096)
        demo.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # raised at the end of the output
            while True:
                text += os.read(main, 4096)
        assert demo.wait(WAIT_SECONDS) == 0
    os.close(main)
    # The clock, the page, and the status line.
    assert text.count(b"\r\n") == 3
    assert text.endswith(b"\r\n")


@pytest.mark.parametrize(
    "options",
    [["--duration", "0"], ["--duration", "nan"], ["--port", "70000"], ["--unknown", "1"]],
)
def test_a_wrong_option_is_named(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        runner.main(options)
    assert stop.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_other_options_are_passed_to_the_server() -> None:
    options, rest = runner._options(["--duration", "5", "--driver", "null", "--buffer-size", "256"])
    assert options.duration == 5.0
    command = server.command_for(4000, rest)
    assert command[0] == sys.executable
    assert command[1:5] == ["-P", "-m", "crowdstream", "serve"]
    assert command[5:] == ["--port", "4000", "--driver", "null", "--buffer-size", "256"]


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert runner.default_cache() == Path("/somewhere/crowdstream/demo")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert runner.default_cache() == Path.home() / ".cache/crowdstream/demo"


def test_the_demo_is_a_subcommand() -> None:
    command = [sys.executable, "-m", "crowdstream", "demo", "--help"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "--tracks-only" in done.stdout


def test_last_words_prefer_a_line_with_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("hello\nPortError: port 57120 is taken\nbye\n\n", encoding="utf-8")
    assert server.last_words(log) == "PortError: port 57120 is taken"
    log.write_text("hello\nbye\n", encoding="utf-8")
    assert server.last_words(log) == "bye"
    assert server.last_words(tmp_path / "none") == "it printed nothing"
