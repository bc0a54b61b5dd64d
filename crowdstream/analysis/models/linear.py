"""A linear classifier: the score of a choice is the weighted sum of its traits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdstream.analysis.tempo import Doubles


@dataclass(frozen=True)
class Model:
    """The weights, one per trait, and the bias."""

    weights: tuple[float, ...]
    bias: float = 0.0

    def score(self, traits: Doubles) -> Doubles:
        """Score each row of `(n, traits)`; a higher score is more likely."""
        scores: Doubles = np.asarray(traits, np.float64) @ np.array(self.weights) + self.bias
        return scores

    def probability(self, traits: Doubles) -> float:
        """Return the probability of one row, `(traits,)`: the logistic function of its score."""
        score = float(self.score(traits[None, :])[0])
        return round(1.0 / (1.0 + float(np.exp(-np.clip(score, -50.0, 50.0)))), 3)

    def chances(self, traits: Doubles) -> Doubles:
        """Return the probability of each row if exactly one is correct: softmax of the scores."""
        scores = self.score(traits)
        share = np.exp(scores - scores.max())
        chances: Doubles = share / share.sum()
        return chances
