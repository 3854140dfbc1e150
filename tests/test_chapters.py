"""Every chapter runs from top to bottom, solutions included, with small parameters."""

from pathlib import Path

import jupytext
import papermill
import pytest

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]_*.md"))
SMALL = {
    "01_tour": {"height": 128, "width": 192, "steps": 2, "device": "cpu"},
    "02_tissue_as_data": {"tiles": 48, "shown": 8, "draws": 20},
    "03_latent_diffusion": {"steps": 2, "points": 2000},
    "04_guidance": {"training": 60, "seeds": 3, "size": 64, "steps": 2, "omegas": [0, 2]},
    "05_masks": {"steps": 2, "samples": 3},
    "06_random_patches": {"height": 128, "width": 192, "steps": 2, "device": "cpu", "levels": 40, "seeds": 4},
    "07_whole_slide": {"height": 256, "width": 320, "steps": 4, "device": "cpu"},
    "08_inpainting": {"field": 128, "steps": 2, "omegas": [0, 1], "device": "cpu"},
    "09_is_it_any_good": {"canvases": 1, "tiles": 27, "steps": 2, "repeats": 2, "device": "cpu"},
    "10_does_it_copy": {"canvases": 1, "clusters": 60, "steps": 2, "repeats": 4, "device": "cpu"},
    "11_real_or_synthetic": {"small": 3, "large": 2, "steps": 6, "device": "cpu"},
    "12_bug_lab": {"steps": 2, "seeds": 1, "masks": 2, "levels": 5},
}


def test_every_chapter_has_small_parameters():
    assert sorted(SMALL) == [chapter.stem for chapter in CHAPTERS]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_chapter_runs(chapter, tmp_path):
    notebook = tmp_path / f"{chapter.stem}.ipynb"
    source = jupytext.read(chapter)
    tagged = [cell for cell in source.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1, "a chapter has one cell tagged parameters"
    unknown = [name for name in SMALL[chapter.stem] if f"{name} =" not in tagged[0].source]
    assert not unknown, f"the chapter has no parameters {unknown}"
    jupytext.write(source, notebook)
    papermill.execute_notebook(
        notebook,
        tmp_path / f"{chapter.stem}.out.ipynb",
        parameters=SMALL[chapter.stem],
        kernel_name="python3",
        cwd=tmp_path,
        progress_bar=False,
        execution_timeout=600,
    )


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_chapter_has_what_readers_count_on(chapter):
    text = chapter.read_text("utf8")
    for part in ("You will learn", "minutes", "{exercise}", "{solution-start}", "## Quiz", "## Take-away"):
        assert part in text, f"{chapter.name} lacks {part!r}"
    assert not any(cell.get("outputs") for cell in jupytext.read(chapter).cells), "chapters carry no outputs"
