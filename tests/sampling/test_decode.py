"""Hann-blended decoding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, interpolate

from diffinfinite_lite.metrics.spatial import seam_statistic
from diffinfinite_lite.models.pretrained import load_models
from diffinfinite_lite.pipelines.generate import OVERLAP
from diffinfinite_lite.sampling.decode import count_tiles, decode, decode_stream


class Repeat:
    """A decoder without context: tiling must not be visible at all."""

    def decode(self, z):
        return z[:, :3].repeat_interleave(8, -2).repeat_interleave(8, -1)


class Blur:
    """A decoder with context and zero padding: wrong at the edge of every tile, as convolutions are."""

    calls = 0

    def decode(self, z):
        self.calls += 1
        return interpolate(avg_pool2d(z[:, :3], 5, 1, 2), scale_factor=2.0, mode="nearest")


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    tile=st.integers(2, 9),
    overlap=st.none() | st.integers(0, 8),
    batch=st.integers(1, 5),
)
def test_any_size_equals_plain_decoding(height, width, tile, overlap, batch):
    z = torch.randn(4, height, width)
    overlap = None if overlap is None else min(overlap, tile - 1)
    image = decode(Repeat(), z, tile=tile, overlap=overlap, batch_size=batch)
    torch.testing.assert_close(image, Repeat().decode(z[None])[0], rtol=1e-5, atol=1e-5)


def test_one_tile_and_smaller():
    for size in (8, 5):
        z = torch.randn(4, size, size)
        torch.testing.assert_close(decode(Blur(), z, tile=8), Blur().decode(z[None])[0])


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    tile=st.integers(2, 9),
    overlap=st.integers(0, 8),
    margin=st.integers(0, 5),
    border=st.integers(0, 2),
)
def test_a_margin_is_read_and_not_painted(height, width, tile, overlap, margin, border):
    """The picture is that of what lies within the margin, whatever the tiles: `Repeat` sees no neighbours."""
    z = torch.randn(3, height + 2 * margin, width + 2 * margin)
    tiles = {"tile": tile, "overlap": min(overlap, tile - 1), "border": border}
    parts = list(decode_stream(Repeat(), z, margin=margin, **tiles))
    assert parts[0][:2] == (0, 0) and sum(part[0].numel() for *_, part in parts) == 64 * height * width
    inner = z[:, margin : margin + height, margin : margin + width]
    whole = decode(Repeat(), z, margin=margin, **tiles)
    torch.testing.assert_close(whole, Repeat().decode(inner[None])[0], rtol=1e-5, atol=1e-5)
    assert len(list(decode_stream(Repeat(), z, batch_size=1, **tiles))) >= len(parts)


def test_the_decoder_sees_the_margin_and_no_zeros():
    """`Blur` reaches two latents: with a margin of two the picture is that of the middle of a larger one."""
    z = torch.randn(3, 30, 26, generator=torch.Generator().manual_seed(0))
    whole = Blur().decode(z[None])[0, :, 8:-8, 8:-8]
    inner = z[:, 2:-2, 2:-2]
    torch.testing.assert_close(decode(Blur(), inner, tile=32, margin=2), whole)
    assert (decode(Blur(), z[:, 4:-4, 4:-4], tile=32, border=2) - whole).abs().max() > 0.1, "repeated ones are others"


def test_edges_of_tiles_are_blended_away():
    z = torch.ones(3, 48, 48)
    image = decode(Blur(), z, tile=16)
    inside = image[:, 4:-4, 4:-4]
    assert (inside - 1).abs().max() < 0.05  # hard tiles are off by 0.4 at every line
    torch.testing.assert_close(image[:, 0, 40], Blur().decode(z[None])[0, :, 0, 40], rtol=0, atol=0.05)


def test_overlap_of_twice_the_reach_suffices():
    """`Blur` reaches two latents: tiles that share four give almost the whole, and tiles that share none do not."""
    z = torch.randn(3, 40, 40, generator=torch.Generator().manual_seed(0))
    whole = Blur().decode(z[None])[0]
    error = {n: float((decode(Blur(), z, tile=16, overlap=n) - whole).abs().max()) for n in (0, 4, 8)}
    assert error[4] < error[0] / 3 and error[8] < error[0] / 3


def test_shipped_decoder_leaves_no_line_between_tiles():
    """Latents of tissue-like smoothness; tiles every 24 latents, twice the decoder's reach as overlap, as in use."""
    autoencoder = load_models()[0]
    noise = torch.randn(8, 80, 80, generator=torch.Generator().manual_seed(0))
    z = avg_pool2d(noise[None], 3, 1, 1)[0] * 2
    lines = [24 * 8, 48 * 8]  # where tiles begin; the overlap ends 24 latents on, at the next of them
    with torch.no_grad():
        blended = decode(autoencoder, z, tile=48, overlap=OVERLAP).numpy()
        hard = torch.cat([autoencoder.decode(part[None])[0] for part in z.split(24, dim=1)], dim=1).numpy()
    assert seam_statistic(blended, lines, lines).p_value > 0.05
    assert seam_statistic(hard, [*lines, 72 * 8]).p_value < 0.05, "tiles side by side do show"


def test_batches_do_not_matter_and_are_used():
    z, one, many = torch.randn(3, 20, 20), Blur(), Blur()
    assert torch.equal(decode(one, z, tile=8, batch_size=1), decode(many, z, tile=8, batch_size=4))
    assert one.calls == 16 and many.calls == 4


def test_stream_hands_out_parts_as_they_are_finished():
    """Tiles of 8 begin at 0, 4, 8, 12, 13 and at 0, 2; what a part shares with no later tile is handed out."""
    z = torch.randn(3, 21, 10)
    parts = list(decode_stream(Repeat(), z, tile=8))
    assert [(top // 8, left // 8) for top, left, _ in parts] == [(t, x) for t in (0, 4, 8, 12, 13) for x in (0, 2)]
    assert [tuple(n // 8 for n in part.shape[1:]) for *_, part in parts[:2]] == [(4, 2), (4, 8)]
    image = torch.full((3, 168, 80), torch.nan)
    for top, left, part in parts:
        at = slice(None), slice(top, top + part.shape[1]), slice(left, left + part.shape[2])
        assert image[at].isnan().all(), "no pixel twice"
        image[at] = part
    assert torch.equal(image, decode(Repeat(), z, tile=8))


def test_strips_kept_elsewhere_are_asked_for_once_and_change_nothing():
    kept = {}
    z = torch.randn(3, 21, 30)
    parts = decode_stream(Blur(), z, tile=8, strips=kept)
    found = torch.cat([part.flatten() for *_, part in parts])
    assert not kept, "none is left"
    assert torch.equal(found, torch.cat([part.flatten() for *_, part in decode_stream(Blur(), z, tile=8)]))


@pytest.mark.parametrize(
    ("z", "settings_"),
    [(torch.zeros(1, 3, 8, 8), {}), (torch.zeros(3, 0, 8), {}), (torch.zeros(3, 8, 8), {"tile": 1}),
     (torch.zeros(3, 8, 8), {"batch_size": 0}), (torch.zeros(3, 8, 8), {"tile": 4, "overlap": 4})],
)  # fmt: skip
def test_bad_input(z, settings_):
    with pytest.raises(ValueError, match="expected"):
        decode(Repeat(), z, **settings_)


@pytest.mark.parametrize("size", [(1, 1), (40, 41), (64, 65), (141, 300)])
@pytest.mark.parametrize("border", [0, 4])
def test_tiles_are_counted_as_they_are_decoded(size, border):
    decoder, settings = Blur(), {"tile": 64, "overlap": 24, "border": border}
    list(decode_stream(decoder, torch.zeros(3, *size), batch_size=1, **settings))
    assert decoder.calls == count_tiles(size, **settings)
