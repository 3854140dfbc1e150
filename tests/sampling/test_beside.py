"""What networks read beside their state: cut like windows, on canvases in memory and on disk, by any plan."""

import pytest
import torch

from diffinfinite_lite.sampling.beside import Across, Enlarged, NoisedCanvas
from diffinfinite_lite.sampling.canvas import MemoryCanvas
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.noise import coordinate_noise
from diffinfinite_lite.sampling.plans import PLANS
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.windows import Window
from tests.toys import random_mask

SIZE = (20, 13)


class Reader:
    """Depends on what stands beside its two channels, and on nothing that batches change."""

    prediction_type = "v_prediction"
    gain = 1.1

    def __call__(self, z, t, mask):
        state, read = z[:, :2], z[:, 2:]
        return 0.6 * state + 0.2 * read.sum(1, keepdim=True).roll(1, -1) + 0.05 * mask[:, None]


def run(alphas, **settings):
    settings = {"channels": 2, "patch": 8, "steps": 3, "seed": 5} | settings
    denoiser = Denoiser(Reader(), alphas, omega=settings.pop("omega", 0.5), batch_size=3)
    *_, level = sample(denoiser, random_mask(*SIZE), **settings)
    return level


@pytest.fixture
def draft():
    canvas = MemoryCanvas(torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(1)), steps=1)
    return NoisedCanvas(canvas, 0.25, seed=9)


def test_a_noised_canvas_is_the_canvas_with_noise_that_belongs_to_its_place(draft):
    window = Window(17, 10, 8, 8)  # wraps in both directions
    (crop,) = draft.crops([window], SIZE)
    noise = coordinate_noise(9, 0, 3, Window(0, 0, *SIZE))
    expected = draft._canvas.z + 0.25 * noise
    rows, columns = (17 + torch.arange(8)) % 20, (10 + torch.arange(8)) % 13
    torch.testing.assert_close(crop[:3], expected[:, rows[:, None], columns], rtol=0, atol=0)
    assert (crop[3] == 0.25).all()
    with pytest.raises(ValueError, match=r"expected a canvas of \(20, 14\) latent pixels to read, got one of"):
        draft.crops([window], (20, 14))


@pytest.mark.parametrize("plan", PLANS)
def test_canvas_on_disk_is_bit_for_bit_that_in_memory(alphas, draft, plan, tmp_path):
    settings = {"plan": plan, "beside": draft, "solver": "dpm-solver++"}
    memory, disk = run(alphas, **settings), run(alphas, **settings, store=tmp_path)
    assert torch.equal(disk.canvas.latents[:], memory.canvas.latents)
    assert not torch.equal(run(alphas, plan=plan, solver="dpm-solver++", beside=None).canvas.latents, memory.canvas.z)


def test_guidance_and_composition_leave_what_is_beside_as_it_is(alphas, draft):
    """Per label and with guidance, against one network whose state holds everything."""
    z, read = torch.randn(2, 2, 6, 5), torch.randn(2, 4, 6, 5)
    mask = torch.randint(3, (2, 6, 5))
    for omega in (0.0, 0.5):
        for conditioning in ("dense", "per-label"):
            denoiser = Denoiser(Reader(), alphas, omega=omega, conditioning=conditioning, batch_size=2)

            def constant(state, t, labels, read=read):
                rows = [int((state[k] == z).flatten(1).all(1).nonzero()[0]) for k in range(len(state))]
                return Reader()(torch.cat([state, read[rows]], 1), t, labels)

            constant.prediction_type, constant.gain = "v_prediction", 1.1
            plain = Denoiser(constant, alphas, omega=omega, conditioning=conditioning, batch_size=2)
            torch.testing.assert_close(denoiser(torch.cat([z, read], 1), 500, mask), plain(z, 500, mask))


def test_a_store_belongs_to_what_was_read(alphas, draft, tmp_path):
    run(alphas, beside=draft, store=tmp_path)
    run(alphas, beside=draft, store=tmp_path)  # the same: goes on, here from its end
    for other in (None, NoisedCanvas(draft._canvas, 0.2, seed=9)):
        with pytest.raises(ValueError, match="expected the store of this run, got that of another one"):
            run(alphas, beside=other, store=tmp_path)


def test_numbers_pass_from_left_to_right_and_hold_where_they_are_the_same():
    same = Across(torch.tensor([1 / 3, 0.1]))
    (crop,) = same.crops([Window(2, 3, 2, 4)], (9, 9))
    assert torch.equal(crop, torch.tensor([1 / 3, 0.1])[:, None, None].expand(2, 2, 4))
    (crop,) = Across(torch.zeros(1), torch.ones(1)).crops([Window(0, 0, 1, 5)], (1, 5))
    assert crop.flatten().tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_pixels_of_a_square_read_the_same_whatever_window_asks():
    squares = MemoryCanvas(torch.arange(2 * 5 * 4.0).view(2, 5, 4), steps=1)
    inner = NoisedCanvas(squares, 0.25, seed=3)
    enlarged = Enlarged(inner, 4)
    (whole,) = enlarged.crops([Window(0, 0, 20, 16)], (20, 16))
    (small,) = inner.crops([Window(0, 0, 5, 4)], (5, 4))
    assert torch.equal(whole, small.repeat_interleave(4, 1).repeat_interleave(4, 2))
    for window in (Window(3, 5, 8, 7), Window(17, 13, 8, 8)):  # the second one wraps in both directions
        (crop,) = enlarged.crops([window], (20, 16))
        rows, columns = (
            (n + torch.arange(k)) % s for n, k, s in ((window.top, window.height, 20), (window.left, window.width, 16))
        )
        assert torch.equal(crop, whole[:, rows[:, None], columns])
    assert enlarged.identity["beside"] == inner.identity and enlarged.identity != Enlarged(inner, 2).identity
    with pytest.raises(ValueError, match=r"expected a canvas of whole squares of 4 pixels, got one of \(18, 16\)"):
        enlarged.crops([Window(0, 0, 4, 4)], (18, 16))


def test_squares_lie_alike_at_negative_places():
    class Places:
        identity = None

        def crops(self, windows, size):
            rows = [torch.arange(w.top, w.top + w.height)[:, None].expand(-1, w.width) for w in windows]
            return [row[None].float() for row in rows]

    (crop,) = Enlarged(Places(), 4).crops([Window(-6, -1, 8, 3)], (2**62, 2**62))
    assert crop[0, :, 0].tolist() == [-2, -2, -1, -1, -1, -1, 0, 0]
