"""Every chapter runs from top to bottom, solutions included, with small parameters."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import papermill
import pytest

BOOK = Path(__file__).parents[2] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]_*.md"))
SMALL = {
    "01_tour": {"height": 128, "width": 192, "steps": 2, "large": 512, "large_steps": 2, "device": "cpu"},
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
def test_chapter_uses_names_that_exist(chapter):
    """In a moment, what a run finds after minutes: undefined names, and names that a module of the library lacks."""
    cells = [cell.source for cell in jupytext.read(chapter).cells if cell.cell_type == "code"]
    code = re.sub(r"^\s*[%!].*$", "", "\n".join(cells), flags=re.MULTILINE)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--config", "builtins=['display']"]
    done = subprocess.run([*ruff, "--output-format", "concise", "-"], input=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    modules, tree = {}, list(ast.walk(ast.parse(code)))
    for node in tree:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("diffinfinite_lite"):
            for alias in node.names:
                found = importlib.import_module(node.module)
                if hasattr(found, "__path__") and not hasattr(found, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                value = getattr(found, alias.name)
                modules |= {alias.asname or alias.name: value} if inspect.ismodule(value) else {}
    for node in tree:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f"{node.value.id} has no {node.attr}"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_chapter_has_what_readers_count_on(chapter):
    text = chapter.read_text("utf8")
    for part in ("You will learn", "minutes", "{exercise}", "{solution-start}", "## Quiz", "## Take-away"):
        assert part in text, f"{chapter.name} lacks {part!r}"
    assert text.count("{term}`") >= 3, f"{chapter.name} links fewer than three terms to the glossary"
    assert not any(cell.get("outputs") for cell in jupytext.read(chapter).cells), "chapters carry no outputs"


def minutes(chapter):
    """Minutes that the box of a chapter promises, in order: the last ones are with the exercises."""
    takes = chapter.read_text("utf8").split("**Takes**")[1].split("```")[0]
    return [int(number) for number in re.findall(r"(\d+)\s+minutes", takes)]


def test_landing_page_promises_what_the_chapters_promise():
    text = (BOOK / "intro.md").read_text("utf8")
    for part in ("You will learn", "**Takes**", "{quiz}", "## Take-away", "**References.**"):
        assert part in text, f"the landing page lacks {part!r}"
    listed = dict(re.findall(r"\* - \{doc\}`(\w+)`\n  - .*\n  - (.*)", text))
    assert sorted(listed) == [chapter.stem for chapter in CHAPTERS]
    promised = {chapter.stem: minutes(chapter) for chapter in CHAPTERS}
    assert {name: [int(n) for n in re.findall(r"\d+", row)] for name, row in listed.items()} == promised
    path, said = re.search(r"### If you look at tissue(.*?)These are (\d+) minutes", text, re.DOTALL).groups()
    steps = re.findall(r"^\d\. \{doc\}`(\w+)`", path, re.MULTILINE)
    assert int(said) == sum(sum(promised[name][:-1]) for name in steps)
    assert "nine to ten hours" in text and 540 <= sum(numbers[-1] for numbers in promised.values()) <= 600
