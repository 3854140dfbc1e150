"""Chapters with small parameters: papermill runs them once, for their own test and for the pages of `test_site`."""

import os
import re
from pathlib import Path
from unittest import mock

import jupytext
import nbformat
import papermill
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import read_myst_markdown_notebook

BOOK = Path(__file__).parents[2] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]_*.md"))
ASSETS = "_assets"  # in the folder of the runs: files that pages load, as `book/_ext/offline.py` has it for the book
SMALL = {
    "01_tour": {"height": 128, "width": 192, "steps": 2, "draft_steps": 2, "large": 512, "large_steps": 2},
    "02_tissue_as_data": {"tiles": 48, "shown": 8, "draws": 20},
    "03_latent_diffusion": {"steps": 2, "draft_steps": 2, "points": 2000},
    "04_guidance": {"training": 40, "seeds": 2, "size": 64, "steps": 2, "omegas": [0, 2]},
    "05_masks": {"steps": 2, "draft_steps": 2, "samples": 3},
    "06_random_patches": {"height": 128, "width": 192, "steps": 2, "draft_steps": 2, "levels": 20, "seeds": 2},
    "07_whole_slide": {"height": 256, "width": 320, "steps": 4, "draft_steps": 2},
    "08_inpainting": {"field": 128, "steps": 2, "draft_steps": 2, "omegas": [0, 1], "rounds": 2, "game": [128, 192]},
    "09_is_it_any_good": {"canvases": 1, "tiles": 27, "steps": 2, "draft_steps": 2, "repeats": 2},
    "10_does_it_copy": {"canvases": 1, "clusters": 60, "steps": 2, "draft_steps": 2, "repeats": 4},
    "11_real_or_synthetic": {"small": 3, "large": 2, "steps": 6, "draft_steps": 6},
    "12_bug_lab": {"steps": 2, "few": 2, "seeds": 1, "masks": 2, "levels": 5},
    "13_why_did_it_not_convince": {"tiles": 6, "steps": 2, "draft_steps": 2},
    "14_bring_your_own": {"tiles": 5, "steps": 4, "networks": "tiny", "samples": 12, "timed": 1, "repeats": 2},
}


def parameters(chapter: Path) -> str:
    """Source of the chapter's cell tagged so."""
    tagged = [cell for cell in jupytext.read(chapter).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1, f"{chapter.name} has {len(tagged)} cells tagged parameters, not one"
    return tagged[0].source


def run(chapter: Path, folder: Path) -> Path:
    """The chapter's notebook in ``folder``, executed from top to bottom with small parameters, if it is not there yet.

    Several processes may ask for the same one: the first runs it, the others wait. One that failed is not tried again.
    """
    folder.mkdir(exist_ok=True)
    done = folder / f"{chapter.stem}.ipynb"
    work = folder / chapter.stem
    with FileLock(f"{done}.lock"):
        assert done.exists() or not work.exists(), f"{chapter.name} has failed before"
        if not done.exists():
            work.mkdir()
            jupytext.write(jupytext.read(chapter), work / done.name)
            with mock.patch.dict(os.environ, DIFFINFINITE_PAGES=str(folder / ASSETS)):
                papermill.execute_notebook(
                    work / done.name,
                    work / "executed.ipynb",
                    parameters=SMALL[chapter.stem],
                    kernel_name="python3",
                    cwd=work,
                    progress_bar=False,
                    request_save_on_cell_execute=False,  # a whole notebook of pictures, twice a cell
                    execution_timeout=600,
                )
            os.replace(work / "executed.ipynb", done)
    return done


def with_small_parameters(chapter: Path) -> str:
    """Text of the chapter, the small parameters in place of its own."""
    text = chapter.read_text("utf8")
    for parameter, value in SMALL[chapter.stem].items():
        text, count = re.subn(rf"^{parameter} = .*$", f"{parameter} = {value!r}", text, count=1, flags=re.MULTILINE)
        assert count, f"{chapter.name} sets no {parameter}"
    return text


def fill_cache(cache: Path, chapter: Path, text: str, executed: Path) -> None:
    """Give a chapter's outputs to the cache of Jupyter Book, so that building its page runs nothing again.

    ``text`` is the chapter as the book will read it, ``executed`` what `run` wrote: the same code cells, but for the
    parameters, which stand there in a cell of their own.
    """
    notebook = read_myst_markdown_notebook(text)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    ran = nbformat.read(executed, 4)
    ran_cells = [cell for cell in ran.cells
                 if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.tags]  # fmt: skip
    assert len(cells) == len(ran_cells)
    for cell, from_run in zip(cells, ran_cells, strict=True):
        assert cell.source == from_run.source or "parameters" in from_run.metadata.tags
        cell.outputs, cell.execution_count = from_run.outputs, from_run.execution_count
    notebook.metadata |= {key: ran.metadata[key] for key in ("language_info", "widgets") if key in ran.metadata}
    bundle = CacheBundleIn(notebook, str(chapter), data={"execution_seconds": ran.metadata.papermill.duration})
    get_cache(cache).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
