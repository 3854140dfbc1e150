"""The chapters on a GPU, at the size a GPU is for: `python -m pytest -m gpu tests/test_chapters_gpu.py`.

`test_chapters.py` runs every chapter with small parameters on the CPU. What only a GPU shows is left to this file:
tensors on two devices, half precision, memory, large fields. Chapters that are not named in `FULL` know no device; they
run with the parameters that their pages are built with.
"""

import jupytext
import papermill
import pytest
import torch

from tests.book.chapters import CHAPTERS, parameters

FULL = {
    "01_tour": {"height": 1024, "width": 1024, "steps": 50, "large": 4096, "large_steps": 20},
    "06_random_patches": {"height": 512, "width": 512, "steps": 50},
    "07_whole_slide": {"height": 2048, "width": 3072, "steps": 20},
    "08_inpainting": {"steps": 50, "seeds": 4},
    "09_is_it_any_good": {"steps": 50},
    "10_does_it_copy": {"clusters": 520, "steps": 50},
    "11_real_or_synthetic": {"steps": 50},
    "13_why_did_it_not_convince": {"tiles": 120, "steps": 48},
    "14_bring_your_own": {"steps": 500},
}


def test_every_chapter_that_knows_a_device_has_full_parameters():
    """Also where there is no GPU, so that the list below does not fall behind the book."""
    cells = {chapter.stem: parameters(chapter) for chapter in CHAPTERS}
    assert sorted(FULL) == [name for name, cell in cells.items() if "\ndevice =" in cell]
    unknown = [(name, key) for name, full in FULL.items() for key in full if f"\n{key} =" not in f"\n{cells[name]}"]
    assert not unknown, f"chapters without these parameters: {unknown}"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="expected a CUDA card, found none")
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_chapter_runs_on_a_gpu(chapter, tmp_path):
    notebook = tmp_path / f"{chapter.stem}.ipynb"
    jupytext.write(jupytext.read(chapter), notebook)
    papermill.execute_notebook(
        notebook,
        tmp_path / f"{chapter.stem}.out.ipynb",
        parameters={**FULL[chapter.stem], "device": "cuda"} if chapter.stem in FULL else {},
        kernel_name="python3",
        cwd=tmp_path,
        progress_bar=False,
        execution_timeout=1800,
    )
