"""The staircase of the learning survey, run in a browser against simulated eyes whose 75% point is known."""

from pathlib import Path

import numpy as np
import pytest

from diffinfinite_lite.survey import page
from tests.check_site import browser, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")
TOP = 9
# Observers with thresholds (levels) and widths; each answers `count` pictures; uniform numbers decide who is lucky.
SIMULATE = """([thresholds, widths, luck, top]) => thresholds.map((t, i) => {
    let level = 0;
    const trials = luck[i].map((u) => {
        const right = u < shareRight(level, t, widths[i]), trial = { level, right };
        level = nextLevel(level, right, top);
        return trial;
    });
    const { threshold, low, high, curve } = fitCurve(trials, top);
    const [levels, right] = ["level", "right"].map((name) => trials.map((trial) => trial[name]));
    return { threshold, low, high, curve, levels, right };
})"""


@pytest.fixture(scope="module")
def evaluate():
    """Evaluates a function of one argument beside ``staircase.js``."""
    source = (Path(page.__file__).parent / "staircase.js").read_text("utf8")
    with browser() as watch:
        yield lambda code, argument: watch.page.evaluate(f"(a) => {{ {source}\nreturn ({code})(a); }}", argument)


@pytest.fixture(scope="module")
def simulate(evaluate):
    """Calls `SIMULATE` with observers; the same seed gives the same luck."""

    def run(thresholds, widths, count, seed=0):
        luck = np.random.default_rng(seed).random((len(thresholds), count))
        return evaluate(SIMULATE, [list(thresholds), list(widths), luck.tolist(), TOP])

    return run


@pytest.fixture(scope="module")
def observers():
    rng = np.random.default_rng(1)
    return rng.uniform(1, 8, 150), rng.uniform(0.5, 2, 150)


@pytest.fixture(scope="module")
def fits(simulate, observers):
    return simulate(*observers, 40)


def test_the_curve_is_75_percent_at_its_threshold(evaluate):
    shares = evaluate("(xs) => xs.map((x) => shareRight(x, 4, 1.3))", [4, -30, 60])
    assert np.allclose(shares, [0.75, 0.98, 0.5], atol=1e-6)


def test_one_level_harder_and_three_easier_within_the_ends(evaluate):
    steps = [[0, True], [0, False], [4, True], [4, False], [2, False], [9, True]]
    assert evaluate("(steps) => steps.map(([l, r]) => nextLevel(l, r, 9))", steps) == [1, 0, 5, 1, 0, 9]


def test_a_long_staircase_stays_where_three_of_four_are_right(simulate):
    """75% to two points, whatever the slope; and the mean level lies within half a level of the threshold."""
    thresholds, widths = [4.0, 5.0, 6.0], [0.6, 1.0, 1.5]
    for found, t in zip(simulate(thresholds, widths, 6000), thresholds, strict=True):
        assert abs(np.mean(found["right"][100:]) - 0.75) < 0.02
        assert abs(np.mean(found["levels"][100:]) - t) < 0.75


def test_forty_pictures_find_the_level_within_a_stated_error(fits, observers):
    """Hardly biased, off by less than 1.25 levels (root mean square: a factor of 1.5 in um); intervals hold it."""
    off = np.array([found["threshold"] for found in fits]) - observers[0]
    assert abs(off.mean()) < 0.4
    assert np.sqrt((off**2).mean()) < 1.25
    held = [found["low"] <= t <= found["high"] for found, t in zip(fits, observers[0], strict=True)]
    assert 0.9 <= np.mean(held) <= 1


def test_more_pictures_narrow_the_interval(simulate, observers, fits):
    long = simulate(observers[0][:40], observers[1][:40], 200)
    width = [np.median([found["high"] - found["low"] for found in some]) for some in (fits[:40], long)]
    assert width[1] < 0.65 * width[0]


def test_eyes_that_never_or_always_tell_are_reported_beyond_the_ends(simulate):
    guessing, perfect = simulate([-40.0, 60.0], [1.0, 1.0], 40)
    assert guessing["low"] < 0 and guessing["threshold"] < 1
    assert perfect["threshold"] > TOP - 1 and perfect["high"] > TOP


def test_the_band_holds_the_curve_and_the_true_curve_mostly(fits, observers):
    inside = []
    for found, t, width in zip(fits, *observers, strict=True):
        points = found["curve"]
        assert all(p["low"] <= p["share"] + 1e-9 and p["share"] <= p["high"] + 1e-9 for p in points)
        true = [0.5 + 0.48 / (1 + np.exp((p["x"] - t) / width - np.log(0.25 / 0.23))) for p in points]
        inside += [p["low"] <= y <= p["high"] for p, y in zip(points, true, strict=True)]
    assert np.mean(inside) > 0.9
