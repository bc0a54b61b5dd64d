"""Checks of disks, network, software, kernels and sound."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from crowdstream.desk.stream_info import DeviceError
from crowdstream.doctor import disk, kernels, network, software, sound
from crowdstream.doctor.check import Machine
from crowdstream.doctor.disk import Speed
from crowdstream.engine.jit import stale_caches
from crowdstream.settings import validate
from crowdstream.system.port_holders import port_holders
from tests.support.doctor_machine import machine

# Disks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "trial", "state"),
    [
        ("music", Speed(90e6, 20e6, False), "ok"),
        ("music", Speed(90e6, 0.0, True), "ok"),
        ("music", Speed(8e6, 20e6, False), "warn"),
        ("music", Speed(1e6, 20e6, False), "fail"),
        ("music", FileNotFoundError(2, "No such file or directory"), "fail"),
        ("recordings", Speed(90e6, 20e6, False), "ok"),
        ("recordings", Speed(90e6, 1e6, False), "warn"),
        ("recordings", Speed(90e6, 0.0, False), "warn"),
        ("cache", Speed(1e6, 1e6, False), "ok"),
    ],
)
def test_speed(kind: str, trial: Any, state: str) -> None:
    check = disk.speed(kind, Path("/music"), trial)
    assert check.state == state and "/music" in check.text
    assert bool(check.fix) == (state != "ok")
    if isinstance(trial, Speed):
        assert ("from memory" in check.text) == trial.cached
        assert ("not allowed" in check.text) == (trial.write == 0)


def test_measuring_a_folder_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "TRIAL_BYTES", 4 << 20)
    speed = disk.measure(tmp_path)
    assert speed.read > 0 and speed.write > 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        disk.measure(tmp_path / "none")


def test_in_a_read_only_folder_an_existing_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match="no file to read"):
        disk.measure(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "track.wav").write_bytes(os.urandom(1 << 20))
    speed = disk.measure(tmp_path)
    assert speed.read > 0 and speed.write == 0


def test_measuring_a_slow_disk_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def slowly(fd: int, data: bytes) -> int:
        written.append(len(data))
        time.sleep(0.05)
        return len(data)

    monkeypatch.setattr(disk, "TRIAL_SECONDS", 0.2)
    monkeypatch.setattr(os, "write", slowly)
    disk.measure(tmp_path)
    assert len(written) <= 5  # of 32


def test_cached_files_are_recognized(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(os.urandom(2 << 20))
    fd = os.open(file, os.O_RDONLY)
    os.read(fd, 2 << 20)
    assert disk._in_memory(fd, 2 << 20)
    os.close(fd)


def test_folders_come_from_the_settings() -> None:
    assert disk.folders(validate()) == {"music": [Path()], "recordings": [Path()]}
    told = validate(media_root=["/b", "/a"], record_folder="/r", deck_a="/c/x.wav")
    assert disk.folders(told) == {"music": [Path("/a"), Path("/b")], "recordings": [Path("/r")]}
    assert disk.folders(validate(deck_a="/c/x.wav", deck_b="/c/y.wav"))["music"] == [Path("/c")]


@pytest.mark.parametrize(
    ("free", "state"), [(100 * 10**9, "ok"), (10**9, "warn"), (10**8, "fail")]
)
def test_free_space(free: int, state: str) -> None:
    check = disk.free_space(Path("/r"), free)
    assert check is not None and check.state == state
    assert disk.free_space(Path("/no/such/folder")) is None


# Network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_a_loopback_address_is_not_exposed(host: str) -> None:
    assert network.exposure(validate(osc_host=host)).state == "ok"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "dj.local"])
def test_other_addresses_are_exposed(host: str) -> None:
    check = network.exposure(validate(osc_host=host))
    assert check.state == "warn" and "--osc-allow" in check.fix


def test_the_program_on_a_used_port_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        check = network.port(Machine(), validate(port=number))
        assert check.state == "warn"
        assert f"process {os.getpid()} (" in check.text
    assert network.port(Machine(), validate(port=number)).state == "ok"
    assert network.port(Machine(), validate(port=0)).state == "ok"


def test_an_address_of_another_machine_fails() -> None:
    check = network.port(Machine(), validate(osc_host="192.0.2.1"))
    assert check.state == "fail"


def test_programs_on_a_port_are_found_in_proc(tmp_path: Path) -> None:
    row = "   1: 00000000:{:04X} 00000000:0000 07 00000000:00000000 00:00000000 0000 0 0 {} 2 0 0\n"
    files = {
        "/proc/net/udp": "  sl  local_address ...\n" + row.format(57120, 4711),
        "/proc/net/udp6": "  sl\n" + row.format(57121, 4712),
        "/proc/12/cmdline": "python\0audio server.py\0--x\0",
    }
    here = machine(tmp_path, files)
    for number, inode in ((12, 4711), (13, 4712)):
        (tmp_path / f"proc/{number}/fd").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"proc/{number}/fd/3").symlink_to(f"socket:[{inode}]")
    assert port_holders("udp", 57120, here.root) == ["process 12 (python audio server.py --x)"]
    assert port_holders("udp", 57121, here.root) == ["process 13 (?)"]
    assert port_holders("udp", 57122, here.root) == []


# Software ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "bits", "state"),
    [((3, 11), 64, "ok"), ((3, 14), 64, "ok"), ((3, 10), 64, "fail"), ((3, 15), 64, "fail"),
     ((3, 11), 32, "fail")],
)  # fmt: skip
def test_python(version: tuple[int, int], bits: int, state: str) -> None:
    assert software.python(version, bits).state == state
    assert software.python().state == "ok"


def test_libraries(tmp_path: Path) -> None:
    assert software.libraries().state == "ok"
    assert {"numpy", "numba", "PyAudio"} <= software.libraries().data["least"].keys()
    file = tmp_path / "requirements.txt"
    file.write_text("# x>=9\nnumpy>=2.0\nnumba >= 0.63  # why\nsoxr>=0.5\n")
    there = {"numpy": "2", "numba": "0.63.1rc1", "soxr": "0.5.0"}
    assert software.libraries(file, there.get).state == "ok"
    old = software.libraries(file, {**there, "numba": "0.100.0", "soxr": "0.4"}.get)
    assert old.state == "fail" and old.text == "soxr 0.4 is older than 0.5"
    gone = software.libraries(file, {"numpy": "2.1", "numba": "0.63"}.get)
    assert gone.state == "fail" and "soxr is missing" in gone.text
    assert software.libraries(tmp_path / "none").state == "ok"


def test_packages_of_extras_are_not_required() -> None:
    lines = ["numpy>=2.0", 'av>=15.1; extra == "stems"', "psutil>=5 ; python_version > '3'",
             "distributed>=2024.1; extra=='dask'"]  # fmt: skip
    assert software.required("\n".join(lines)) == {"numpy": "2.0", "psutil": "5"}
    installed = software.libraries(Path("/nonexistent"), lambda name: {"av": None}.get(name, "99"))
    assert installed.state == "ok", "installed without the project folder and without extras"


def test_file_formats() -> None:
    assert software.formats().state == "ok"
    assert software.formats("1.0.31").state == "warn"
    assert software.formats("1.1.0").state == "ok"


# Kernels -----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder of compiled kernels as numba creates it."""
    folder = tmp_path / "crowdstream" / "kernels" / ("a" * 16)
    (folder / "engine_0").mkdir(parents=True)
    for entry in kernels.ENTRIES:
        (folder / "engine_0" / f"{entry}-1.py311.nbi").write_bytes(b"x")
    return folder


def test_compiled_kernels_are_ok(cache: Path) -> None:
    assert kernels.kernel_cache(cache).state == "ok"


def test_the_kernel_names_match_numbas_files() -> None:
    assert kernels.kernel_cache().data["missing"] == []


def test_missing_kernels_are_reported(cache: Path) -> None:
    (cache / "engine_0" / "render.render_at-1.py311.nbi").unlink()
    check = kernels.kernel_cache(cache)
    assert check.state == "warn" and "not compiled" in check.text
    assert check.data["missing"] == ["render.render_at"]


def test_kernels_of_another_checkout_do_not_count(cache: Path) -> None:
    # Two copies of the same sources share a folder, where numba finds kernels by their path.
    other = cache / kernels.own_folder("/somewhere/else/crowdstream/engine")
    (cache / "engine_0").rename(other)
    check = kernels.kernel_cache(cache)
    assert check.state == "warn" and "not compiled" in check.text
    assert check.data["missing"] == list(kernels.ENTRIES)
    other.rename(cache / kernels.own_folder())
    assert kernels.kernel_cache(cache).state == "ok"


def test_the_folder_name_matches_numbas() -> None:
    from numba.core.caching import _CacheLocator

    path = os.path.join(kernels.ENGINE, "render.py")
    assert kernels.own_folder() == _CacheLocator.get_suitable_cache_subpath(path)


def test_kernels_of_another_user_are_reported(cache: Path) -> None:
    check = kernels.kernel_cache(cache, os.getuid() + 1)
    assert check.state == "warn" and "another user" in check.text and "chown" in check.fix


def test_a_read_only_cache_is_reported(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    check = kernels.kernel_cache(cache)
    assert check.state == "warn" and "can't be written" in check.text


def test_a_temporary_cache_is_reported(cache: Path) -> None:
    moved = cache.parents[1].rename(cache.parents[2] / "crowdstream-0") / "kernels" / cache.name
    assert "does not last" in kernels.kernel_cache(moved).text


def test_kernels_of_older_versions_are_counted(cache: Path) -> None:
    old = cache.parent / ("b" * 16)
    old.mkdir()
    (old / "x.nbc").write_bytes(b"x" * 2_000_000)
    assert kernels.kernel_cache(cache).state == "ok"
    long_ago = time.time() - stale_caches.UNUSED_SECONDS - 60
    for path in (old / "x.nbc", old):
        os.utime(path, (long_ago, long_ago))
    check = kernels.kernel_cache(cache)
    assert check.state == "warn" and "1 of older versions, 2 MB" in check.text
    assert "compile deletes them" in check.fix


# Sound -------------------------------------------------------------------------------------

CARD = {
    "number": 1, "name": "USB Audio", "host": "ALSA", "channels": 2, "sample_rate": 44100.0,
    "latency": 0.01, "default": True,
}  # fmt: skip


def test_the_used_device_is_named() -> None:
    other = {**CARD, "number": 2, "name": "HDMI", "sample_rate": 48000.0, "default": False}
    check = sound.devices(validate(), lambda: [CARD, other])
    assert check.state == "ok" and check.text.startswith("USB Audio (ALSA), one of 2")
    chosen = sound.devices(validate(device="hdmi"), lambda: [CARD, other])
    assert "HDMI" in chosen.text and "48000 Hz" in chosen.text


def test_a_missing_device_is_a_warning_or_a_failure() -> None:
    def broken() -> list[dict[str, Any]]:
        raise DeviceError("PyAudio is not installed")

    assert sound.devices(validate(), list).state == "warn"
    assert sound.devices(validate(driver="pyaudio"), list).state == "fail"
    gone = sound.devices(validate(device="HDMI"), lambda: [CARD])
    assert gone.state == "fail" and "no device 'HDMI'" in gone.text
    assert "PyAudio is not installed" in sound.devices(validate(), broken).text
    assert sound.devices(validate(driver="null"), list).state == "warn"


def test_access_to_the_sound_cards(tmp_path: Path) -> None:
    assert sound.access(machine(tmp_path / "none")) is None
    here = machine(tmp_path, {"/dev/snd/pcmC0D0p": "", "/dev/snd/pcmC0D0c": "", "/dev/snd/seq": ""})
    allowed = sound.access(here, lambda _path, _mode: True)
    assert allowed is not None and allowed.state == "ok" and allowed.data["cards"] == ["pcmC0D0p"]
    closed = sound.access(here, lambda _path, _mode: False)
    assert closed is not None and closed.state == "warn" and "usermod -aG audio" in closed.fix
