"""The command line: output and exit status."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import crowdstream
from crowdstream.cli import main
from crowdstream.control.main import serve
from crowdstream.desk.stream_info import DeviceError
from tests.support.offline_server import level, write
from tests.support.server import PROJECT, WAIT_SECONDS, server, until


def run(*arguments: str, program: tuple[str, ...] = ("audio_server.py",)) -> Any:
    """Run the program to its end: exit status, output, errors."""
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False,
    )


def one_line(text: str) -> str:
    """The only line that is not from the log."""
    lines = [line for line in text.splitlines() if line.startswith("crowdstream: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_seconds_ends_the_server(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", level(1))
    done = run(
        "serve", "--port", "0", "--driver", "null", "--duration", "0.5", "--deck-a", str(file),
        program=("-m", "crowdstream"),
    )
    assert done.returncode == 0, done.stderr
    assert "ready: null, built-in clock" in done.stderr
    assert "a, stereo, 1 stem, 1.0 s" in done.stderr


def test_a_taken_port_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        done = run("--port", port, "--driver", "null")
    assert done.returncode == 1
    assert f"UDP port {port} on 127.0.0.1 is in use by process" in one_line(done.stderr)
    assert "--port" in done.stderr


def test_an_unknown_host_is_reported_in_one_line() -> None:
    done = run("--port", "0", "--osc-host", "no.such.host.invalid", "--driver", "null")
    assert done.returncode == 1
    assert "no.such.host.invalid" in one_line(done.stderr)


def test_a_missing_device_is_reported_in_one_line() -> None:
    done = run("--port", "0", "--device", "no such card", "--driver", "pyaudio")
    assert done.returncode == 1
    assert "device" in one_line(done.stderr)


def test_a_wrong_setting_is_reported_in_one_line_with_status_2(tmp_path: Path) -> None:
    done = run("--buffer-size", "7")
    assert done.returncode == 2
    assert "buffer_size" in one_line(done.stderr)
    chart = tmp_path / "map.toml"
    chart.write_text("steps = []", encoding="utf-8")
    done = run("--port", "0", "--driver", "null", "--movement-map", str(chart))
    assert done.returncode == 2
    assert one_line(done.stderr).startswith("crowdstream: movement_map: ")


def test_show_config_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(["--show-config", "--port", "1234"]) == 0
    out = capsys.readouterr().out
    assert "1234" in out
    assert "movement_map" in out


def test_devices_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {
        "number": 3, "name": "USB Audio", "host": "ALSA", "channels": 2, "sample_rate": 48000.0,
        "latency": 0.0087, "default": True,
    }
    place = "crowdstream.engine.drivers.portaudio.list_devices"
    line = "*  3  USB Audio  (ALSA, 2 channels, 48000 Hz, 8.7 ms)\n"
    monkeypatch.setattr(place, lambda side="Output": [entry] if side == "Output" else [])
    assert serve(["--list-devices"]) == 0
    assert capsys.readouterr().out == line
    monkeypatch.setattr(place, lambda side="Output": [entry])
    assert serve(["--list-devices"]) == 0
    assert capsys.readouterr().out == f"{line}inputs, for --input:\n{line}"
    monkeypatch.setattr(place, lambda side="Output": [])
    assert serve(["--list-devices"]) == 0
    assert "no output devices" in capsys.readouterr().out

    def absent(side: str = "Output") -> None:
        raise DeviceError("PyAudio is not installed")

    monkeypatch.setattr(place, absent)
    assert serve(["--list-devices"]) == 1
    assert "PyAudio is not installed" in capsys.readouterr().err


def test_the_real_devices_can_be_listed() -> None:
    done = run("--list-devices")
    assert done.returncode == 0
    assert done.stdout
    assert "Traceback" not in done.stderr


def test_compile_compiles() -> None:
    done = run("compile", program=("-m", "crowdstream"))
    assert done.returncode == 0
    assert done.stdout.startswith("kernels ready after ")


def test_compile_deletes_kernels_unused_for_a_month(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import crowdstream.engine.render  # noqa: F401  (compiled before the cache is another one)

    kernels = tmp_path / "crowdstream" / "kernels"
    present, old = kernels / ("0" * 16), kernels / ("1" * 16)
    for folder in (present, old):
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(present))
    assert main(["compile"]) == 0
    assert present.exists() and not old.exists()
    assert "deleted the kernels of 1 older versions" in capsys.readouterr().out


def test_unknown_commands_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play"]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert "there is no command 'play'" in captured.err
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "serve" in out and "render" in out
    assert main([]) == 2


def test_watch_prints_the_beat(tmp_path: Path) -> None:
    options = ("--driver", "null", "--standby", "off", "--print-beats", "--bpm", "240")
    with server(tmp_path, *options) as running:

        def beats() -> list[tuple[int, int]]:
            found = re.findall(r"^bar (\d+) beat (\d+) ", running.log(), re.MULTILINE)
            return [(int(bar), int(beat)) for bar, beat in found]

        until(lambda: len(beats()) >= 6)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(WAIT_SECONDS) == 0
        # One line per beat; a busy machine may miss one, including the first.
        assert beats() == sorted(set(beats()))
        assert {beat for _bar, beat in beats()} <= {1, 2, 3, 4}


def test_version_and_help_of_a_subcommand() -> None:
    module = ("-m", "crowdstream")
    assert run("--version", program=module).stdout == f"crowdstream {crowdstream.__version__}\n"
    helped = run("compile", "--help", program=module)
    assert helped.returncode == 0 and "compile" in helped.stdout


def test_the_address_of_another_machine_is_not_reported_as_a_taken_port() -> None:
    result = run("--driver", "null", "--port", "0", "--osc-host", "192.0.2.1")
    assert result.returncode == 1
    assert "no such address" in result.stderr and "another server" not in result.stderr
