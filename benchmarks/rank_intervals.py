"""Intervals of rank correlations over simulated panels: how often they exclude 0 wrongly, and cover the true value.

    python benchmarks/rank_intervals.py

Of 1,000 panels per size: how often the interval is above 0, and below 0, for unrelated normal accuracies; and how often
it covers Kendall's tau of accuracies with a correlation of 0.8. The levels are 2.5 %, 2.5 % and 95 %.
"""

from __future__ import annotations

import numpy as np

from pytest_clip_robust.stats.across_models import rank_correlation

PANELS = 1000
CORRELATION = 0.8
TAU = 2 / np.pi * np.arcsin(CORRELATION)


def main() -> None:
    """Print one line per size of panel."""
    draw = np.random.default_rng(0)
    for models in (5, 6, 8, 12, 20, 40):
        names = [str(i) for i in range(models)]
        unrelated = [rank_correlation(*draw.normal(size=(2, models)), groups=names) for _ in range(PANELS)]
        above, below = (sum(one) / PANELS for one in zip(*((e.low > 0, e.high < 0) for e in unrelated), strict=True))
        covered = 0
        for _ in range(PANELS):
            x, noise = draw.normal(size=(2, models))
            related = CORRELATION * x + (1 - CORRELATION**2) ** 0.5 * noise
            found = rank_correlation(x, related, groups=names)
            covered += found.low <= TAU <= found.high
        print(f"{models:3} models: above 0 {above:.1%}, below 0 {below:.1%}; covered at 0.8 {covered / PANELS:.1%}")


if __name__ == "__main__":
    main()
