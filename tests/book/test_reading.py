"""*Look* and *Look and code*: the extension on two small pages, and the switch in a browser."""

import subprocess
import sys
from pathlib import Path

import pytest
from docutils import nodes

from tests.check_site import PHONE, chrome, chromium, served_from, window_of

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book/_ext"))

import reading  # noqa: E402

needs_chromium = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")
PATH = [["02_one", "first"], ["03_two", "second"]]
KERNEL = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""
ONE = """
# One

```{admonition} You will learn
Everything.
```

Said to all.

```{view} code
Of `parameters`.
```

```{view} look
Of pictures.
```

```{code-cell} ipython3
open_code = 1
```

```{code-cell} ipython3
:tags: [hide-input]

# Prints a word
print("drawn")
```

```{code-cell} ipython3
:tags: [code-only]

print("a table")
```

## Hidden section

```{view} code
```

Of the method.

### Below it

More of it.

## Exercises

```{exercise}
:label: one-first

Do it.
```

```{exercise}
:label: one-second

See {ref}`one-first`.
```

## Quiz

```{quiz} one-a
Which?

- [x] a
- [ ] b

Because.
```

```{quiz} one-b
:look:

What is seen?

- [x] tissue
- [ ] noise

  Look again.

Because of the model.
```

## Take-away

```{take-home}
One sentence.
```

- A list.

"""
CONF = """
import sys
sys.path.insert(0, {ext!r})
extensions = ["myst_nb", "sphinx_exercise", "quiz", "reading", "exercises"]
myst_enable_extensions = ["tasklist"]
html_theme, html_static_path = "sphinx_book_theme", [{static!r}]
html_css_files, html_js_files = ["course.css", "reading.css"], ["reading.js", "site.js", "quiz.js"]
html_context = {{"default_mode": "auto"}}
html_theme_options = {{"navbar_persistent": []}}
root_doc = "intro"
nb_execution_mode, numfig, look_path, look_end = "force", True, {path!r}, ["other"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    conf = CONF.format(ext=str(ROOT / "book/_ext"), static=str(ROOT / "book/_static"), path=PATH)
    (folder / "conf.py").write_text(conf)
    (folder / "02_one.md").write_text(KERNEL + ONE)
    (folder / "03_two.md").write_text(KERNEL + "\n# Two\n\n```{exercise}\n:label: two-first\n\nDo.\n```\n")
    (folder / "intro.md").write_text("# Start\n\n```{look-path}\n```\n\n```{toctree}\n02_one\n03_two\nother\n```\n")
    (folder / "other.md").write_text("# Other\n\nText. [Method](02_one.md#hidden-section)\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(folder), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture
def served(site):
    (site / "favicon.ico").touch()  # which a browser asks every web server for
    with served_from(site) as address:
        yield address


@pytest.fixture(scope="module")
def started():
    with chrome() as started:
        yield started


@pytest.fixture
def window(started):
    with window_of(started) as watch:
        yield watch


def test_a_page_says_what_is_for_whom(site):
    html = (site / "02_one.html").read_text("utf8")
    assert '<section class="code-view" id="hidden-section">' in html
    assert '<section class="code-view" id="exercises">' in html
    assert html.count("<summary>") >= 1 and "Prints a word</p>" in html and "Show code cell source" not in html
    assert 'aria-label="Toggle hidden content"' not in html


def test_exercises_have_the_number_of_their_chapter(site):
    one, two = ((site / name).read_text("utf8") for name in ("02_one.html", "03_two.html"))
    assert [f"Exercise 2.{n} " in one for n in (1, 2, 3)] == [True, True, False] and "Exercise 3.1 " in two
    assert '<span class="std std-numref">Exercise 2.1</span>' in one


def test_the_path_is_listed_with_minutes_and_goes_on(site):
    names = ("intro", "02_one", "03_two", "other")
    start, one, two, other = ((site / f"{name}.html").read_text("utf8") for name in names)
    assert "2 minutes in all." in start and "1 min: first" in start
    assert 'class="look-next" href="03_two.html?view=look">Next: Two' in one
    assert 'class="look-back" href="02_one.html?view=look">Back: One' in two and "look-next" not in two
    assert 'href="02_one.html?view=look">To its start: One' in other and "Not on the path" in other
    assert "The path of <em>Look</em>, 2 steps" in start and "Not on the path" not in start
    assert 'class="look-on" href="other.html?view=look"> Other' in two and "look-on" not in one


def test_minutes_count_what_look_shows():
    def words(n, **attributes):
        return nodes.container("", nodes.paragraph("", "word " * n), **attributes)

    minute = reading.WORDS_A_MINUTE
    assert reading.seconds(words(minute)) == 60
    assert reading.seconds(words(minute, classes=["code-view"])) == 0
    shown = nodes.container("", nodes.image(), nodes.raw("", "<script></script>", format="html"))
    assert reading.seconds(shown) == reading.SECONDS_A_PICTURE + reading.SECONDS_A_WIDGET
    either = nodes.container("", nodes.image(), nodes.paragraph("", "one"), nb_element="mime_bundle")
    assert reading.seconds(either) == reading.SECONDS_A_PICTURE


VISIBLE = {
    "code": ("Of parameters.", "open_code", "a table", "Of the method.", "More of it.", "Do it.", "Which?", "A list."),
    "look": ("Of pictures.", "Step 1 of 2", "Next: Two"),
    "both": ("Said to all.", "drawn", "What is seen?", "One sentence."),
}


@needs_chromium
@pytest.mark.parametrize("view", ["look", "code"])
def test_each_view_shows_its_part(site, window, view):
    window.page.goto((site / "02_one.html").as_uri() + f"?view={view}")
    article = window.page.locator(".bd-article")
    text = article.inner_text()
    assert [part for part in VISIBLE["both"] if part not in text] == []
    other = "code" if view == "look" else "look"
    assert [part for part in VISIBLE[view] if part not in text] == []
    assert [part for part in VISIBLE[other] if part in text] == []
    assert article.locator("pre:visible").count() == (1 if view == "look" else 4)  # outputs, and two cells of code
    assert article.locator("summary:visible").count() == (0 if view == "look" else 2)  # the fold, and an answer
    assert window.errors == [] and window.outside == []
    assert window.axe() == []


@needs_chromium
def test_the_switch_by_keyboard_is_kept_and_stands_in_the_address(served, window):
    window.page.goto(f"{served}/02_one.html")
    switch = window.page.get_by_role("group", name="Way to read")
    look, code = (switch.get_by_role("button", name=name, exact=True) for name in ("Look", "Look and code"))
    assert [look.get_attribute("aria-pressed"), code.get_attribute("aria-pressed")] == ["false", "true"]
    assert "view=" not in window.page.url  # nobody has chosen
    look.press("Enter")
    assert look.get_attribute("aria-pressed") == "true" and window.page.url.endswith("?view=look")
    assert not window.page.get_by_text("Of the method.").is_visible()
    window.page.get_by_role("link", name="Next: Two").click()
    window.page.wait_for_url("**/03_two.html?view=look")
    window.page.goto(f"{served}/other.html")  # kept, and put into the address
    assert window.page.evaluate("location.search") == "?view=look"
    window.page.goto(f"{served}/02_one.html?view=code")  # an address says more than what is kept
    assert window.page.get_by_text("Of the method.").is_visible()
    assert window.errors == []


@needs_chromium
def test_a_link_to_a_hidden_place_shows_it(site, window):
    window.page.goto((site / "other.html").as_uri() + "?view=look")
    window.page.get_by_role("link", name="Method").click()
    window.page.get_by_text("Of the method.").wait_for()
    assert not window.page.get_by_text("Do it.").is_visible()


@needs_chromium
def test_the_answer_of_look_comes_after_the_choice(site, window):
    window.page.goto((site / "02_one.html").as_uri() + "?view=look")
    quiz = window.page.locator("#quiz-one-b")
    assert not quiz.locator("summary").is_visible()
    quiz.get_by_role("radio", name="noise").check()
    assert not quiz.get_by_text("Because of the model.").is_visible()
    quiz.get_by_role("button", name="Check").click()
    assert quiz.get_by_text("Look again.").is_visible()
    assert quiz.get_by_text("Because of the model.").is_visible()


@needs_chromium
def test_the_switch_fits_on_a_phone(site, window):
    window.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    window.page.goto((site / "02_one.html").as_uri() + "?view=look")
    places = (".view-switch", ".header-article-items__end", "article h1")
    switch, end, heading = (window.page.locator(where).first.bounding_box() for where in places)
    assert switch["x"] >= 0 and switch["x"] + switch["width"] <= end["x"]
    assert switch["y"] + switch["height"] <= heading["y"]
    assert window.too_wide() <= 0


@needs_chromium
def test_the_first_address_leads_to_the_first_page_in_the_view_asked_for(served, window):
    window.page.goto(f"{served}/?view=look#start")
    window.page.wait_for_url(f"{served}/intro.html?view=look#start")
