"""Confidences: probabilities that follow from the evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crowdstream.analysis import confidence
from crowdstream.analysis.confidence import downbeat_of, key_of, tempo_of
from crowdstream.analysis.grid import Beats
from crowdstream.analysis.key import camelot_name
from crowdstream.analysis.result import Downbeat, Key
from crowdstream.analysis.rhythm import Evidence, Rhythm
from crowdstream.analysis.source import ArraySound
from crowdstream.analysis.track import analyse
from tests.support.drum_machine import RATE, drums

EVIDENCE = Evidence(octave=0.9, regular=3.0, fit=0.95, meter=0.95, phase=0.9)


def rhythm(doubt: str = "", **evidence: float) -> Rhythm:
    """Return a steady rhythm with `EVIDENCE`, changed by `evidence`."""
    return Rhythm(Beats.even(2.0), 120.0, True, replace(EVIDENCE, **evidence), 4, doubt)


@pytest.mark.parametrize("strong", [0.99999, 0.9, 0.6, 0.3, 1e-9])
def test_confidences_are_probabilities_and_grow_with_those_of_the_models(strong: float) -> None:
    weak = strong / 3
    for results in (
        [tempo_of(rhythm(octave=chance), 180.0)[0] for chance in (weak, strong)],
        [tempo_of(rhythm(octave=chance), 180.0)[1] for chance in (weak, strong)],
        [downbeat_of(rhythm(phase=chance), 180.0).confidence for chance in (weak, strong)],
        [key_of(Key("8A", 9, True, chance)).confidence for chance in (weak, strong)],
    ):
        assert 0.0 <= results[0] <= results[1] <= 1.0


def test_strong_evidence_is_certain_and_weak_evidence_is_not() -> None:
    strong = rhythm(octave=0.9999, phase=0.9999, meter=0.9999, fit=1.0)
    assert tempo_of(strong, 200.0)[0] > 0.9 and not downbeat_of(strong, 200.0).uncertain
    weak = rhythm(octave=0.3, phase=0.15, meter=0.5, fit=0.7)
    assert tempo_of(weak, 200.0)[0] < 0.7 and downbeat_of(weak, 200.0).uncertain


def test_a_doubtful_rhythm_is_never_certain() -> None:
    sure = rhythm("its tempo changes from 100 to 128", octave=0.9999, phase=0.9999)
    assert tempo_of(sure, 200.0)[0] <= confidence.MAX_DOUBTFUL_CONFIDENCE


def test_the_confidence_of_a_key_keeps_the_key() -> None:
    key = Key(camelot_name(9, True), 9, True, 0.5, ("8B",), 3.0)
    assert replace(key_of(key), confidence=0.5) == key


def test_an_uncertain_downbeat_has_no_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = [ArraySound("mix", drums(124.0, 60.0), RATE)]
    assert analyse(sounds).phrases

    def unsure(found: Rhythm, _seconds: float) -> Any:
        return Downbeat(0.49, found.meter)

    monkeypatch.setattr(confidence, "downbeat_of", unsure)
    found = analyse(sounds)
    assert found.downbeat.uncertain and found.phrases == ()
    assert found.sections and np.isfinite(found.tempo.confidence)
