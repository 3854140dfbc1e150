"""Toy answers and toy pictures for the tests of the survey."""

import numpy as np
from scipy import stats
from scipy.ndimage import gaussian_filter

from diffinfinite_lite.survey.answers import as_table
from diffinfinite_lite.survey.pictures import SIDES, Field


def table(raters=6, seed=0, skill=0.7):
    """Answers of simulated raters about 12 pictures."""
    rng = np.random.default_rng(seed)
    rows = []
    for rater in range(raters):
        for item in range(12):
            truth = ("real", "synthetic")[item % 2]
            right = rng.random() < skill
            answer = truth if right else ("synthetic", "real")[item % 2]
            rows.append(
                {
                    "survey": "s0123456789",
                    "asked": 12.0,
                    "saved": "2026-11-29T03:00:00Z",
                    "rater": f"r{rater}",
                    "experience": float(rng.integers(1, 30)),
                    "item": f"p{item}",
                    "size": ("small", "large")[item // 8],
                    "truth": truth,
                    "answer": answer,
                    "confidence": int(rng.integers(1, 8)),
                    "seconds": float(rng.integers(1, 90)),
                    "position": item + 1,
                    "origin": ("camera", "model")[item % 2],
                    "taps": ((0.25, 0.5), (0.125, 1.0)) if item == rater else (),
                }
            )
    answers = as_table(rows)
    answers["experience"] = answers.groupby("rater")["experience"].transform("first")
    return answers


STAINS = ((0.65, 0.70, 0.29), (0.27, 0.90, 0.34))  # haematoxylin, and eosin with enough blue in it to count as tissue


def tissue(seed, size="small", blur=2.0, strength=1.0, stains=STAINS):
    """A picture of two random stains."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, SIDES[size], SIDES[size]))
    fields = np.stack([gaussian_filter(n, blur) for n in noise], -1)
    concentration = strength * 1.3 * stats.norm.cdf(fields / fields.std()) ** 2
    concentration[:30] = 0  # glass, for the white balance
    return np.rint(255 * np.exp(-concentration @ np.array(stains))).astype(np.uint8)


def make_fields(count=4, **options):
    kinds = [(real, size) for size, n in (("small", count), ("large", 2)) for real in (True, False) for _ in range(n)]
    return [
        Field(tissue(i, size, **options), real, "camera" if real else "model") for i, (real, size) in enumerate(kinds)
    ]
