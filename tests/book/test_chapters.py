"""Every chapter runs from top to bottom, solutions included, with small parameters."""

import ast
import importlib
import inspect
import re
import subprocess
import sys

import jupytext
import pytest

from tests.book.chapters import BOOK, CHAPTERS, SMALL, parameters, run


def test_every_chapter_has_small_parameters():
    assert sorted(SMALL) == [chapter.stem for chapter in CHAPTERS]
    for chapter in CHAPTERS:
        unknown = [name for name in SMALL[chapter.stem] if f"{name} =" not in parameters(chapter)]
        assert not unknown, f"{chapter.name} has no parameters {unknown}"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_chapter_runs(chapter, runs):
    assert run(chapter, runs).exists()


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
    assert len(re.findall(r"\{quiz\} \S+\n:look:\n", text)) == 1, f"{chapter.name} asks not one question in Look"
    (home,) = re.findall(r"```\{take-home\}\n(.*?)\n```", text, re.DOTALL)
    assert home.rstrip().endswith(".") and home.count(". ") == 0, f"{chapter.name} has not one sentence to take home"
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
    assert "{look-path}" in text
    assert "ten to eleven hours" in text and 600 <= sum(numbers[-1] for numbers in promised.values()) <= 660
