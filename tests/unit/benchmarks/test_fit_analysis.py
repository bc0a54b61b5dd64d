"""Fits of the linear models, from the beginning and near present weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.fit_analysis import OUT, Choice, checked, fit, present_models, write_weights


def choices(seed: int, count: int = 800) -> list[Choice]:
    """Return choices between three options, of which the first trait decides, but for noise."""
    dice = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        traits = dice.normal(size=(3, 4))
        made.append(Choice(traits, int(np.argmax(3 * traits[:, 0] + dice.gumbel(size=3)))))
    return made


def test_a_fit_finds_the_trait_that_decides() -> None:
    found = fit(choices(1), 0.001)
    assert found[0] == pytest.approx(3.0, abs=0.6)
    assert np.abs(found[1:]).max() < 0.5
    assert checked(choices(2), 0.001) > 0.75


def test_given_weights_stay_and_the_others_are_fitted_beside_them() -> None:
    kept = np.array([3.0, 0.0, 0.5])
    found = fit(choices(3), 0.001, kept=kept)
    assert found[:3] == pytest.approx(kept)
    assert abs(found[3]) < 0.5
    made = [Choice(one.traits[:, ::-1], one.right) for one in choices(4)]  # the last trait decides
    added = fit(made, 0.001, kept=np.zeros(3))
    assert added == pytest.approx([0.0, 0.0, 0.0, 3.0], abs=0.6)
    assert added[:3].tolist() == [0.0, 0.0, 0.0]


def test_a_high_penalty_keeps_weights_small() -> None:
    assert fit(choices(5), 1e4) == pytest.approx(np.zeros(4), abs=0.01)


def test_the_present_models_can_be_written_as_they_are(tmp_path: Path) -> None:
    present = present_models()
    write_weights(tmp_path / "weights.py", {
        name: (np.array(model.weights), model.bias) for name, model in present.items()
    })  # fmt: skip
    assert (tmp_path / "weights.py").read_text() == OUT.read_text()
