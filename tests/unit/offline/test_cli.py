"""`crowdstream render`: what happens after the mix has been written."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from crowdstream.dj.setfile.errors import SetError
from crowdstream.offline import cli
from crowdstream.offline.cues import Set
from crowdstream.offline.renderer import Summary
from crowdstream.settings import Settings


def test_a_set_that_is_edited_during_the_render_costs_only_its_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def plot(*_arguments: object) -> None:
        raise SetError("set.toml, line 3: half a line")

    monkeypatch.setattr("crowdstream.offline.set_formats.read_set", lambda _path: Set(()))
    monkeypatch.setattr("crowdstream.engine.precompiled.kernels", lambda: None)
    monkeypatch.setattr("crowdstream.offline.dj_set.write_plot", plot)
    monkeypatch.setattr(cli, "_write", lambda *_arguments, **_options: Summary(44100))
    options = argparse.Namespace(
        set=tmp_path / "set.toml", out=tmp_path / "mix.wav", explain=False, quiet=False
    )
    assert cli._render(options, Settings()) == 0
    told = capsys.readouterr()
    assert "the plot can't be written (set.toml, line 3: half a line)" in told.err
    assert "mix.wav: 1.000 s" in told.out
