"""The Sphinx extension that keeps the pages offline."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

EXTENSION = Path(__file__).parents[1] / "book/_ext/offline.py"
spec = importlib.util.spec_from_file_location("offline", EXTENSION)
offline = importlib.util.module_from_spec(spec)
spec.loader.exec_module(offline)


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
