"""The preset selected for a machine, and its share of memory."""

from functools import partial
from pathlib import Path

import pytest

from crowdstream.settings import SettingError, default_cache_mb, machine, resolve
from crowdstream.settings.files import PRESETS, preset_names
from crowdstream.settings.machine import limited_bytes, service_limit_files


@pytest.mark.parametrize(
    ("model", "preset"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", "pi5"),
        ("Raspberry Pi 500 Rev 1.0", "pi5"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "pi5"),
        ("Raspberry Pi 4 Model B Rev 1.5", "pi4"),
        ("Raspberry Pi 400 Rev 1.0", "pi4"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "pi4"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "pi4"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "pi4"),
        ("Raspberry Pi Model B Rev 2", "pi4"),
        ("Radxa ROCK 5B", "desktop"),
        ("", "desktop"),
    ],
)
def test_the_machines_model_selects_the_preset(model: str, preset: str, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(model.encode() + b"\0")
    resolved = resolve([], {}, home=tmp_path, model_file=file)
    assert resolved.settings.preset == preset
    assert resolved.origins["preset"] == "this machine"
    assert resolved.origins["buffer_size"] == f"preset {preset}"
    assert resolved.preset_reason.startswith(f"preset {preset} (")
    why = model if preset != "desktop" else "no Raspberry Pi found"
    assert why in resolved.preset_reason
    assert resolved.preset_reason.isprintable()


def test_a_machine_without_a_model_uses_the_desktop_preset(tmp_path: Path) -> None:
    resolved = resolve([], {}, home=tmp_path, model_file=tmp_path / "none")
    assert resolved.preset_reason == "preset desktop (no Raspberry Pi found)"


@pytest.mark.parametrize(
    ("preset", "frames"),
    [("pi4", 1024), ("pi5", 512), ("desktop", 512), ("workstation", 256), ("live", 128)],
)
def test_presets_can_be_selected_by_name(preset: str, frames: int, tmp_path: Path) -> None:
    for argv, environ, origin in (
        (["--preset", preset.upper()], {}, "flag --preset"),
        ([], {"CROWDSTREAM_PRESET": preset}, "environment CROWDSTREAM_PRESET"),
    ):
        resolved = resolve(argv, environ, home=tmp_path)
        assert resolved.settings.buffer_size == frames
        assert resolved.settings.preset == preset
        assert resolved.origins["preset"] == origin
        assert resolved.preset_reason == f"preset {preset} ({origin})"


def test_there_are_no_other_presets() -> None:
    assert preset_names() == ["desktop", "live", "pi4", "pi5", "workstation"]
    assert (PRESETS / "example.toml").is_file()


def test_an_unknown_preset_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as error:
        resolve(["--preset", "pi6"], {}, home=tmp_path)
    assert str(error.value) == (
        "preset: 'pi6' (flag --preset) is not one of desktop, live, pi4, pi5, workstation"
    )


def test_without_the_preset_folder_the_defaults_apply(tmp_path: Path) -> None:
    resolved = resolve([], {}, home=tmp_path, model_file=tmp_path / "none", presets=tmp_path)
    assert resolved.settings.preset is None
    assert resolved.settings.buffer_size == 512
    assert resolved.origins["buffer_size"] == "default"
    assert resolved.preset_reason.startswith("no preset")
    with pytest.raises(SettingError, match=r"^preset: 'live' \(flag --preset\)"):
        resolve(["--preset", "live"], {}, home=tmp_path, presets=tmp_path)


@pytest.mark.parametrize("text", ["preset = 'live'", "config = 'x'", "buffer_size = 1", "x = 1"])
def test_a_wrong_preset_is_reported_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SettingError, match=r"\(preset mine\)"):
        resolve(["--preset", "mine"], {}, home=tmp_path, presets=tmp_path)


def test_memory_is_half_of_the_machine_and_at_least_256_mb() -> None:
    assert default_cache_mb(8 << 30) == 4096
    assert default_cache_mb(512 << 20) == 256
    assert default_cache_mb(0) == 256
    assert default_cache_mb() >= 256


def test_a_service_stays_below_its_memory_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "sys"
    monkeypatch.setattr(machine, "_physical_bytes", lambda: 8 << 30)
    monkeypatch.setattr(machine, "limited_bytes", lambda files=(): limited_bytes(files))
    files = partial(service_limit_files, own, root)
    monkeypatch.setattr(machine, "service_limit_files", files)
    assert default_cache_mb() == 4096, "no cgroups"
    own.write_text("4:cpu,memory:/old.service\n1:name=systemd:/x\n0::/system.slice/a.service\n")
    limits = [root / name for name in (
        "memory/old.service/memory.limit_in_bytes", "system.slice/memory.max",
        "system.slice/a.service/memory.max",
    )]  # fmt: skip
    assert list(files()) == limits
    for path in limits:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("max\n")
    assert default_cache_mb() == 4096
    limits[2].write_text(f"{8 * (8 << 30) // 10}\n")
    assert default_cache_mb() == 4096, "80 %, as in the unit: half of the machine fits"
    for path in limits:
        path.write_text(f"{1 << 30}\n")
        assert default_cache_mb() == 1024 - 300
        path.write_text("max\n")
    limits[0].write_text(f"{100 << 20}\n")
    assert default_cache_mb() == 256
    own.write_text("0::/\n")
    assert default_cache_mb() == 4096, "a container's own, which `limited_bytes` reads"


def test_a_containers_memory_limit_applies(tmp_path: Path) -> None:
    new, old = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    assert limited_bytes((new, old)) == 1 << 63
    new.write_text("max\n")
    assert limited_bytes((new, old)) == 1 << 63
    old.write_text("9223372036854771712\n")
    new.write_text("1073741824\n")
    assert limited_bytes((new, old)) == 1 << 30
