"""A linear model: what speaks for a choice, weighed and added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crowdstream.analysis.tempo import Doubles


@dataclass(frozen=True)
class Model:
    """Weights, one per trait, and what is added."""

    weights: tuple[float, ...]
    bias: float = 0.0

    def score(self, traits: Doubles) -> Doubles:
        """Of each row of `(n, traits)`: higher is likelier."""
        scores: Doubles = np.asarray(traits, np.float64) @ np.array(self.weights) + self.bias
        return scores

    def chances(self, traits: Doubles) -> Doubles:
        """Of rows of which one is right: how likely each is it, 1 in all."""
        scores = self.score(traits)
        share = np.exp(scores - scores.max())
        chances: Doubles = share / share.sum()
        return chances
