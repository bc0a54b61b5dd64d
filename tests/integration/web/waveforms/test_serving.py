"""Waveforms over HTTP."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crowdstream.web.waveforms.peak_file import EXACT
from tests.support.waveform_app import WaveformApp, track
from tests.unit.web.waveforms.test_job import parts

PATIENCE = 60.0


@pytest.fixture
def app(tmp_path: Path) -> Iterator[WaveformApp]:
    with WaveformApp(tmp_path / "cache") as made:
        made.pages.add(Nobody())
        yield made


class Nobody:
    """A page that ignores messages."""

    async def send_text(self, _text: str) -> None:
        """Ignore the message."""


def get(app: WaveformApp, path: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of a GET request."""
    try:
        with urllib.request.urlopen(app.url + path, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def ready(app: WaveformApp, number: int) -> list[dict[str, Any]]:
    """The summary of a track's stems, once all are exact or have failed."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status, _headers, body = get(app, f"waves/{number}")
        stems: list[dict[str, Any]] = json.loads(body).get("stems", [])
        if status == 200 and all(one["ready"] == 1 or one["failed"] for one in stems):
            return stems
        time.sleep(0.02)
    raise AssertionError("it was never ready")


def test_a_page_receives_tiles_of_a_loaded_track(
    app: WaveformApp, tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    paths = [write_sound(tmp_path / f"{n}.wav", frames=44100 * 20) for n in range(2)]
    app.show(A=track(7, paths, 20.0))
    stems = ready(app, 7)
    assert [one["levels"] for one in stems] == [[6891, 1723, 431, 108]] * 2
    assert str(tmp_path) not in json.dumps(stems)
    status, headers, body = get(app, f"waves/7/1/0/1?key={stems[1]['key']}")
    assert status == 200
    assert "immutable" in headers["cache-control"]
    buckets, known = parts(body)
    assert len(buckets) == 6891 - 4096
    assert set(known) == {EXACT}
    assert buckets[:, 0].max() > 50
    assert get(app, "waves/7/1/0/1")[1]["cache-control"] == "no-store"
    assert get(app, "waves/7/1/0/1?key=other")[1]["cache-control"] == "no-store"


def test_missing_waveforms_get_404(
    app: WaveformApp, tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    app.show(A=track(7, [write_sound(tmp_path / "a.wav", frames=44100 * 20)], 20.0))
    ready(app, 7)
    for path in (
        "8", "7/2/0/0", "7/0/9/0", "7/0/0/2", "7/0/0/99999999999999", "7/-1/0/0", "x/0/0/0",
        "7/0/0", "7/0/0/../../../etc/passwd",
    ):  # fmt: skip
        assert get(app, f"waves/{path}")[0] == 404


def test_unloaded_tracks_have_no_waveforms(
    app: WaveformApp, tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    sound = write_sound(tmp_path / "a.wav")
    app.show(A=track(7, [sound], 2.0))
    ready(app, 7)
    app.show(A=track(8, [sound], 2.0), B=track(9, [sound], 2.0))
    assert get(app, "waves/7")[0] == 404
    assert ready(app, 8) == ready(app, 9)
    app.show(A=track(0, [], 0.0), B=track(0, [], 0.0))
    assert get(app, "waves/8")[0] == get(app, "waves/9")[0] == 404


def test_a_file_that_is_not_audio_is_reported_and_others_continue(
    app: WaveformApp, tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"this is no audio at all")
    good = write_sound(tmp_path / "good.wav")
    app.show(A=track(7, [tmp_path / "bad.wav", good], 2.0))
    bad, fine = ready(app, 7)
    assert "bad.wav" in bad["failed"]
    assert fine["ready"] == 1
    assert get(app, "waves/7/0/0/0")[0] == 404
    (tmp_path / "bad.wav").write_bytes(good.read_bytes())
    app.show(A=track(8, [tmp_path / "bad.wav"], 2.0))
    assert ready(app, 8)[0]["failed"] == ""


def test_waveforms_run_at_half_speed_while_files_are_loaded(
    app: WaveformApp, tmp_path: Path, write_sound: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    said: list[bool] = []
    monkeypatch.setattr(app.waves.worker, "gentle", said.append)
    app.loader["busy"] = 1
    app.show(A=track(7, [write_sound(tmp_path / "a.wav")], 2.0))
    ready(app, 7)
    app.loader["busy"] = 0
    app.show(A=track(8, [write_sound(tmp_path / "b.wav")], 2.0))
    ready(app, 8)
    assert said == [True, False]
