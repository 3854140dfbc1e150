"""The Sphinx extensions for quizzes, notebooks, pictures and the reference, without a browser (see test_site.py)."""

import doctest
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from myst_parser.parsers.docutils_ import Parser

sys.path.insert(0, str(Path(__file__).parents[2] / "book/_ext"))

import accessible
import notebooks
import quiz
import reading
import reference

BOOK = Path(__file__).parents[2] / "book"


@pytest.mark.parametrize("module", [accessible, notebooks, reading, reference], ids=lambda module: module.__name__)
def test_doctests(module):
    assert doctest.testmod(module).failed == 0


def parse(text):
    from docutils.core import publish_doctree

    settings = {"myst_enable_extensions": ["tasklist"], "myst_suppress_warnings": ["myst"]}
    return list(publish_doctree(text, parser=Parser(), settings_overrides=settings).children)


def test_choices_split_question_from_explanation():
    question, choices, rest = quiz.split(parse("Why?\n\n- [ ] a *b*\n\n  no\n- [x] c\n\nBecause."))
    assert [part.astext() for part in (*question, *rest)] == ["Why?", "Because."]
    assert [quiz._mark(choice) for choice in choices] == [False, True]
    assert "".join(node.astext() for node in quiz.Quiz._text(choices[0])) == "a b"


def test_reasons_in_the_choices_are_explanation_enough():
    assert quiz.split(parse("Why?\n\n- [x] a\n- [ ] b\n\n  no"))[2] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Why?\n\nBecause.", "a list of choices"),
        ("Why?\n\n- a\n- b\n\nBecause.", "a list of choices"),
        ("Why?\n\n- [x] a\n- [x] b\n\nBecause.", "at least one of each"),
        ("Why?\n\n- [ ] a\n- [ ] b\n\nBecause.", "at least one of each"),
        ("Why?\n\n- [x] a\n- b\n\nBecause.", "every choice"),
        ("- [x] a\n- [ ] b\n\nBecause.", "a question"),
        ("Why?\n\n- [x] a\n\n  yes\n- [ ] b", "an explanation"),
    ],
)
def test_bad_questions_are_one_sentence(text, message):
    with pytest.raises(ValueError, match=message):
        quiz.split(parse(text))


def test_notebook_keeps_code_and_hides_answers(tmp_path):
    chapter = tmp_path / "07_x.md"
    chapter.write_text("""---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Title

```{code-cell} ipython3
:tags: [hide-input]

1 + 1
```

```{exercise}
:label: x-one

Do it, see {doc}`tour <01_tour>`.
```

```{solution-start} x-one
:class: dropdown
```

```{code-cell} ipython3
assert 2 == 1 + 1
```

It holds.

```{solution-end}
```

```{quiz} x-two
Which?

- [ ] a

  Not a.
- [x] b

Because b.
```
""")
    notebook = notebooks.plain_notebook(chapter, install="it")
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code][1:] == ["1 + 1", "assert 2 == 1 + 1"]
    assert "%pip install -q it\n" in code[0].source
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in code[1:])
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "[tour](01_tour.ipynb)" in text and "{" not in text
    visible = "".join(part.split("</details>")[-1] for part in text.split("<details>"))
    assert "- a\n- b" in visible
    assert not any(word in visible for word in ("Not a.", "Because b.", "It holds.", "[x]"))


def test_citations_become_names():
    named = notebooks.citations(BOOK / "references.bib")
    assert named["aversa2023diffinfinite"] == "Aversa et al. 2023"


@pytest.mark.parametrize("url", ["", "https://example.org/you/book", "https://github.com/you"])
def test_no_launch_links_without_a_repository_on_github(url):
    assert notebooks.links("01_tour", url, "main", "gh-pages") == []


def test_pictures_without_text_are_reported(tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text('<img src="a.png"><img src="b.png" alt="" role="presentation">')
    seen = []
    monkeypatch.setattr(accessible.logger, "warning", lambda text, *values, **_: seen.append(text % values))
    accessible._finish(SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html")), None)
    assert seen == ["page.html shows a.png without an alt text"]


def test_reference_names_every_module_once():
    package = BOOK.parent / "diffinfinite_lite"
    pages = "".join(page.read_text("utf8") for page in BOOK.glob("api_*.md"))
    found = [name for room in reference.MARK.findall(pages) for name in reference.modules(package, room)]
    there = [path.relative_to(package).with_suffix("") for path in package.rglob("[a-z]*.py")]
    assert sorted(found) == sorted(".".join(path.parts) for path in there)
