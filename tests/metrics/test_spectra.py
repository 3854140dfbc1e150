"""Lattices and rings of known power; latents that are noise, smooth, or ringed."""

import numpy as np
import pytest

from diffinfinite_lite.metrics import latents, spectra

RNG = np.random.default_rng(0)


def test_a_lattice_is_found_at_its_own_period():
    noise = RNG.normal(size=(6, 3, 64, 64))
    woven = noise.copy()
    woven[..., ::4, :] += 1
    woven[..., :, ::4] += 1
    plain, printed = spectra.power(noise), spectra.power(woven)
    assert spectra.lattice(plain, 4) == pytest.approx(1, abs=0.25)
    assert spectra.lattice(printed, 4) > 10
    assert spectra.lattice(printed, 8) == pytest.approx(spectra.lattice(plain, 8), rel=0.2)


def test_a_blur_takes_the_highest_rings():
    noise = RNG.normal(size=(20, 1, 64, 64))
    blurred = (noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3) + np.roll(noise, (1, 1), (2, 3))) / 4
    ratio = spectra.rings(spectra.power(blurred)) / spectra.rings(spectra.power(noise))
    assert ratio[1] == pytest.approx(1, abs=0.1) and ratio[-1] < 0.3


def test_power_of_both_halves_of_the_plane_agrees_with_the_whole_transform():
    pictures = RNG.normal(size=(2, 1, 32, 32))
    window = np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2
    square = pictures - pictures.mean((2, 3), keepdims=True)
    whole = (np.abs(np.fft.fft2(square * np.outer(window, window))) ** 2).mean((0, 1)) / 32**2
    np.testing.assert_allclose(spectra.power(pictures), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectra.power([]), "at least one picture"),
        (lambda: spectra.power([np.zeros((1, 8, 8))]), "at least 16 px"),
        (lambda: spectra.lattice(np.ones((32, 32)), 5), "divides a side"),
        (lambda: latents.border_ring(np.zeros((1, 1, 4, 4))), "9 x 9"),
        (lambda: latents.spectral_slope(np.full((2, 1, 16, 16), np.nan)), "finite"),
        (lambda: latents.unpredictable_share(np.zeros((2, 8, 4, 4))), "places to fit"),
    ],
)
def test_bad_input_is_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_smooth_latents_are_predictable_and_steep():
    smooth = RNG.normal(size=(12, 1, 20, 20)).cumsum(2).cumsum(3)
    assert latents.unpredictable_share(smooth) < 0.1
    assert latents.spectral_slope(smooth) > 20


def test_fine_power_is_that_above_six_tenths_of_nyquist():
    """A wave below the limit adds nothing, one above it does; pictures of one law are a coin toss."""
    x = np.arange(64)
    slow, fast = (np.ones((3, 64, 1)) * np.cos(2 * np.pi * k * x / 64) for k in (16, 22))
    assert spectra.fine_power(slow) < 1e-3 * spectra.fine_power(fast)
    noise = RNG.normal(size=(80, 3, 64, 64))
    assert spectra.fine_auc(noise[:40], noise[40:]) == pytest.approx(0.5, abs=0.15)
    assert spectra.fine_auc(noise[:40], 1.2 * noise[40:]) == 1
    with pytest.raises(ValueError, match="expected pictures in both sets, got 2 real and 0 made ones"):
        spectra.fine_auc(noise[:2], [])


def test_grid_energy_is_that_of_made_pictures_over_real_ones():
    noise = RNG.normal(size=(12, 3, 64, 64))
    woven = noise[6:].copy()
    woven[..., ::4, :] += 1
    found = spectra.grid_energy(spectra.power(noise[:6]), spectra.power(woven))
    assert list(found) == [2, 4, 8] and found[4] > 5 and found[8] == pytest.approx(1, abs=0.4)
