"""The Sphinx extensions that keep the pages offline and light."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]


def extension(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"book/_ext/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


offline = extension("offline")


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
