"""The pages in a browser: a copy of the book whose chapters run with small parameters, and one page more.

Building it runs every chapter and checks with warnings as errors every reference, term, citation, docstring and quiz of
the book. Then Chromium opens all pages from files and drives player, sweep, deep zoom, quiz and survey. `check_site.py`
looks at the site of full size in the same way, and takes pictures.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from filelock import FileLock
from PIL import Image

from tests.book.chapters import ASSETS, CHAPTERS, SMALL, fill_cache, run, with_small_parameters
from tests.check_site import DESKTOP, PHONE, broken_links, chrome, chromium, looked_at, pages, served_from, window_of

ROOT = Path(__file__).parents[2]
needs_chromium = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")


def build(folder: Path, runs: Path) -> Path:
    """Pages of the book in ``folder``, with its own configuration and extensions; chapters show their ``runs``."""
    for name in ("book", "docs", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("_build", ".ipynb_checkpoints"))
    for name in ("CHANGELOG.md", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "tests/site_page.md", folder / "book/site_page.md")
    for chapter in reversed(CHAPTERS):  # the chapters' own tests, in another process, begin with the first
        run(chapter, runs)
    for chapter in CHAPTERS:
        text = with_small_parameters(chapter)
        (folder / "book" / chapter.name).write_text(text, "utf8")
        fill_cache(folder / "cache", folder / "book" / chapter.name, text, run(chapter, runs))
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    config["execute"] |= {"execute_notebooks": "cache", "cache": str(folder / "cache")}
    config["repository"] = {"url": "https://github.com/you/copy", "branch": "main", "path_to_book": "book"}
    extensions = config["sphinx"]["local_extensions"]
    del extensions["side_by_side"]  # the chapters have run
    extensions |= dict.fromkeys(extensions, str(ROOT / "book/_ext"))
    (folder / "_config.yml").write_text(yaml.safe_dump(config))
    contents = yaml.safe_load((ROOT / "book/_toc.yml").read_text("utf8"))
    contents["parts"][-1]["chapters"].append({"file": "site_page"})
    (folder / "book/_toc.yml").write_text(yaml.safe_dump(contents))
    bin_ = str(Path(sys.executable).parent)
    command = [f"{bin_}/jupyter-book", "build", "book", "--config", "_config.yml", "--path-output", ".",
               "-W", "-n", "--keep-going", "-q"]  # fmt: skip
    environment = os.environ | {"PATH": f"{bin_}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.copytree(runs / ASSETS, folder / "_build/html" / ASSETS, dirs_exist_ok=True)
    return folder / "_build/html"


@pytest.fixture(scope="session")
def site(shared_folder, runs):
    """Built once, also where several processes share the tests."""
    folder = shared_folder / "site"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            build(folder, runs)
    return folder / "_build/html"


@pytest.fixture
def served(site):
    with served_from(site) as address:
        yield address


@pytest.fixture(scope="module")
def started(site):
    """A Chromium; after the site, as chapters do not run beside one in the same process."""
    with chrome() as started:
        yield started


@pytest.fixture
def window(started):
    with window_of(started) as watch:
        yield watch


def test_links_lead_somewhere(site):
    assert len(pages(site)) > 10
    assert broken_links(site) == []


def test_chapters_are_there_as_plain_notebooks(site):
    made = sorted((site / "notebooks").glob("*.ipynb"))
    assert {path.stem for path in made} >= {"01_tour", "03_latent_diffusion", "05_masks", "06_random_patches"}
    for path in made:
        notebook = nbformat.read(path, 4)
        if path.stem in SMALL:
            assert any(
                "image/jpeg" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])
            ), f"{path.name} brings no figure"
            assert path.stat().st_size < 3_000_000
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        for leftover in ("```{", ":class:", "{doc}", "{cite", "{term}", "- [x]"):
            assert leftover not in text, f"{path.name} holds {leftover}"
        first = notebook.cells[0].source.splitlines()
        assert '%pip install -q "diffinfinite_lite[course] @ git+https://github.com/you/copy@main"' in first
        assert "!{sys.executable} -m diffinfinite_lite.browser_scripts" in first


def test_launch_links_follow_the_setting(site):
    text = (site / "01_tour.html").read_text("utf8")
    assert 'href="notebooks/01_tour.ipynb" download' in text
    assert "colab.research.google.com/github/you/copy/blob/gh-pages/notebooks/01_tour.ipynb" in text
    assert "mybinder.org/v2/gh/you/copy/main?urlpath=lab%2Ftree%2Fnotebooks%2F01_tour.ipynb" in text


def test_edit_links_follow_the_setting(site):
    assert 'href="https://github.com/you/copy/edit/main/book/05_masks.md"' in (site / "05_masks.html").read_text("utf8")
    api = (site / "api_sampling.html").read_text("utf8")
    assert "https://github.com/you/copy/edit/main/diffinfinite_lite/sampling/loop.py" in api


def test_api_leads_to_the_code(site):
    api = (site / "api_sampling.html").read_text("utf8")
    assert 'href="_modules/diffinfinite_lite/sampling/loop.html#run"' in api
    assert "canvas.advance(step(level))" in re.sub(
        r"<[^>]+>", "", (site / "_modules/diffinfinite_lite/sampling/loop.html").read_text("utf8"))  # fmt: skip


def test_every_answer_is_in_the_instructor_guide(site):
    guide = (site / "instructor.html").read_text("utf8")
    for page in pages(site):
        for part in page.read_text("utf8").split('<form class="quiz')[1:]:
            assert f'{page.name}#{part.split(chr(34))[2]}"' in guide


def test_the_path_of_look_takes_about_an_hour(site):
    intro = (site / "intro.html").read_text("utf8")
    each = [int(minutes) for minutes in re.findall(r", (\d+) min: ", intro)]
    (total,) = re.findall(r"(\d+) minutes in all", intro)
    assert int(total) == sum(each) and len(each) == 7
    assert 40 <= int(total) <= 70  # the survey itself comes on top


def test_quizzes_are_readable_without_javascript(site):
    html = (site / "site_page.html").read_text("utf8")
    answers = html.split('<details class="quiz-answer">')[1:]
    assert len(answers) == 3
    assert "Because of" in answers[0].split("</details>")[0]


@needs_chromium
@pytest.mark.parametrize("part", range(4))
def test_pages_are_accessible_and_quiet(site, window, part):
    """In four parts, which processes share."""
    problems = []
    for page in looked_at(site)[part::4]:
        window.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        window.open(page, "light")
        problems += [f"{page.name}: {window.too_wide()} px too wide"] if window.too_wide() > 0 else []
        window.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
        problems += [f"{page.name}, light: {found}" for found in window.axe()]
        window.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        problems += [f"{page.name}, dark: {found}" for found in window.contrast()]
    assert problems == []
    assert window.errors == []
    assert window.outside == []


@needs_chromium
def test_faint_text_is_found_on_each_ground_and_three_times_a_look(tmp_path, window):
    (tmp_path / "page.html").write_text("""<!doctype html><html lang="en"><title>t</title>
        <body style="background: #fff">
        <p style="color: #000">good</p><p style="color: #bbb; visibility: hidden">unseen</p>
        <p style="color: #bbb">1</p><p style="color: #bbb">faint</p><p style="color: #bbb">faint too</p>
        <p style="color: #bbb">faint three</p><p style="color: #bbb">faint four</p>
        <div style="background: #000"><p style="color: #bbb">good</p><p style="color: #333">faint here</p></div>""")
    window.open(tmp_path / "page.html")
    (found,) = window.contrast()
    assert found.startswith("color-contrast") and "; 4 x, " in found
    assert found in window.axe()


@needs_chromium
def test_figures_stand_on_white_in_the_dark(site, window):
    window.open(site / "site_page.html", "dark")
    figure = window.page.locator(".cell_output img").first
    assert window.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert figure.get_attribute("alt") == "A line that rises."
    style = figure.evaluate("e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).filter]")
    assert style == ["rgb(255, 255, 255)", "none"]


# What *Look* may not show, block by block: code, names of parameters, symbols without the word for them, and sentences
# that announce what only the other view has.
PLAIN = """() => {
    const found = [], article = document.querySelector(".bd-article");
    const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest("script, style");
    const plain = (e) => { // formulas speak in symbols, and say what these are beside them
        const copy = e.cloneNode(true);
        copy.querySelectorAll("script, style").forEach((part) => part.remove());
        for (const formula of copy.querySelectorAll("mjx-container")) {
            formula.replaceWith((formula.textContent.match(/[ω𝜔η𝜂]/u) ?? ["x"])[0]);
        }
        return copy.textContent.replace(/\\s+/g, " ").trim();
    };
    for (const code of article.querySelectorAll("code, .highlight-ipython3, .highlight-python")) {
        if (shown(code)) found.push(`code: ${code.textContent.trim().slice(0, 60)}`);
    }
    const blocks = "p, li, h1, h2, h3, h4, td, th, caption, figcaption, legend, label, summary, option, button, pre, a";
    const name = /\\b[a-z]+_[a-z_0-9]+\\b|\\b[a-z]\\w*=\\S|\\{['"]|\\b\\w+\\(\\)|\\b(True|False|nan|NaN)\\b|^None$/;
    const symbols = [[/[ω𝜔]|\\bomega\\b/u, /guidance|strength|dial/i], [/[η𝜂]/u, /fresh noise/i]];
    for (const block of article.querySelectorAll(blocks)) {
        if (!shown(block)) continue;
        const text = plain(block);
        const said = text.match(name);
        if (said) found.push(`name ${said[0]}: ${text.slice(0, 80)}`);
        for (const [symbol, word] of symbols) {
            if (symbol.test(text) && !word.test(text)) found.push(`symbol without its word: ${text.slice(0, 80)}`);
        }
    }
    const things = "ul, ol, dl, table, pre, img, canvas, fieldset, .verdicts, mjx-container[display=true]";
    const parts = [...article.querySelectorAll(`:is(p, h1, h2, h3, h4, ${things})`)].filter(
        (e) => shown(e) && !e.closest(".look-path"));
    parts.forEach((part, n) => {
        const ends = !parts[n + 1] || parts[n + 1].matches("p, h1, h2, h3, h4");
        if (part.matches("p") && /:$/.test(part.textContent.trim()) && ends) {
            found.push(`announces what is not there: ${part.textContent.trim().slice(-80)}`);
        }
    });
    return [...new Set(found)];
}"""
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["sphinx"]["config"]
LOOK_PATH = [name for name, _ in CONFIG["look_path"]]


@needs_chromium
@pytest.mark.parametrize("name", ["intro", *LOOK_PATH])
def test_look_speaks_in_plain_words(site, window, name):
    window.open_view(site / f"{name}.html", "look")
    assert window.page.evaluate(PLAIN) == []


@needs_chromium
def test_bare_names_are_found(tmp_path, window):
    (tmp_path / "page.html").write_text("""<!doctype html><html lang="en"><title>t</title><article class="bd-article">
        <p>More guidance, ω = 2, and eight steps.</p><p>The dial turns.</p><p hidden>seed=3</p>
        <p>So it runs:</p><p>Painted with <code>plan</code>.</p><p>steps=8</p><p>at ω = 2</p>
        <pre>network_evaluations 3</pre>
        </article>""")
    window.open(tmp_path / "page.html")
    found = window.page.evaluate(PLAIN)
    assert [line.split(":")[0] for line in found] == [
        "code", "name steps=8", "symbol without its word", "name network_evaluations", "announces what is not there",
    ]  # fmt: skip


# Code that is broken or cut off, though it is wide enough for all of its lines on a screen of this width.
CUT_FORMULAS = """[...document.querySelectorAll("mjx-container[display=true]")]
    .filter((formula) => formula.scrollWidth > formula.clientWidth + 1)
    .map((formula) => formula.closest(".math").textContent)"""
BROKEN_CODE = """() => {
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
    document.querySelectorAll(".toggle-hidden").forEach((part) => part.classList.remove("toggle-hidden"));
    return [...document.querySelectorAll(".cell_input pre, .cell_output .highlight-python pre")].filter((code) => {
        const style = getComputedStyle(code), lines = code.textContent.trimEnd().split("\\n").length;
        return code.checkVisibility() && (code.scrollWidth > code.clientWidth
            || code.clientHeight > (lines + 1) * parseFloat(style.lineHeight) + 2 * parseFloat(style.paddingTop));
    }).map((code) => code.textContent.slice(0, 60));
}"""


@needs_chromium
@pytest.mark.parametrize("name", [chapter.stem for chapter in CHAPTERS])
def test_no_line_of_code_is_broken_and_no_formula_cut(site, window, name):
    window.open_view(site / f"{name}.html", "code")
    assert window.page.evaluate(BROKEN_CODE) == []
    assert window.page.evaluate(CUT_FORMULAS) == []


@needs_chromium
def test_a_figure_that_is_wider_than_a_phone_says_so(site, window):
    """Where letters would be too small to read, a figure scrolls; unless told, nobody looks for its right half."""
    window.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    window.open_view(site / "04_guidance.html", "look")
    said = window.page.evaluate("""[...document.querySelectorAll(".cell_output")]
        .filter((output) => output.checkVisibility() && output.scrollWidth > output.clientWidth + 1)
        .map((output) => getComputedStyle(output, "::before").content)""")
    assert said and all("swipe to see all of it" in words for words in said)


@needs_chromium
def test_player_by_keyboard(site, window):
    window.open(site / "site_page.html")
    root = window.page.locator("#p")
    words, slider = root.locator("p"), root.locator("input")
    assert words.inner_text().startswith("Frame 1 of 3: all pixels have 2 steps")
    slider.press("ArrowRight")
    assert words.inner_text().startswith("Frame 2 of 3")
    root.get_by_role("button", name="Next frame").press("Enter")
    assert words.inner_text().startswith("Frame 3 of 3: all pixels have 0 steps")
    root.get_by_role("button", name="Play").press("Space")
    window.page.wait_for_function(
        "document.querySelector('#p p').textContent.startsWith('Frame 3')"
        " && document.querySelector('#p [data-do=play]').textContent === 'Play'"
    )
    assert window.errors == []


@needs_chromium
def test_sweep_by_keyboard(site, window):
    window.open(site / "site_page.html")
    root = window.page.get_by_role("group", name="Greys")
    assert root.get_by_role("img").get_attribute("alt") == "Grey 0."
    root.get_by_role("slider", name="ω").press("ArrowRight")
    assert root.get_by_role("img").get_attribute("alt") == "Grey 80."
    assert root.get_by_text("All pixels are 80.").is_visible()
    assert window.errors == []
    assert window.outside == []


@needs_chromium
def test_deep_zoom_by_keyboard(site, window):
    window.open(site / "site_page.html")
    zoom = "document.getElementById('z').viewer.viewport.getZoom()"
    window.page.wait_for_function("""() => {
        const world = document.getElementById("z").viewer?.world;
        return world?.getItemCount() === 2 && [0, 1].every((n) => world.getItemAt(n).getFullyLoaded());
    }""")
    home = window.page.evaluate(zoom)
    window.page.get_by_role("application", name="A ramp of colours").press("+")
    window.page.wait_for_function(f"{zoom} > {1.01 * home}")
    opacity = window.page.get_by_role("slider", name="Opacity of the mask")
    opacity.press("ArrowRight")
    shown = window.page.evaluate("document.getElementById('z').viewer.world.getItemAt(1).getOpacity()")
    assert shown == int(opacity.input_value()) / 100 == 0.35
    assert window.errors == []
    assert window.outside == []


@needs_chromium
def test_the_first_page_loads_the_large_field_on_a_click(site, window):
    asked = []
    window.page.on("request", lambda request: asked.append(request.url))
    window.open(site / "intro.html")
    assert not any("tour-zoom-image_files" in url or url.endswith(("tour-zoom.js", "tour-steps.js")) for url in asked)
    window.page.get_by_role("button", name="Zoom into it").click()
    window.page.wait_for_function(
        "document.getElementById('tour-zoom')?.viewer?.world.getItemAt(0)?.getFullyLoaded()")  # fmt: skip
    window.page.get_by_role("button", name="Watch it step by step").click()
    window.page.locator("#tour-steps").get_by_role("button", name="Next frame").click()
    assert window.page.locator("#tour-steps p").inner_text().startswith("Frame 2 of")
    assert window.axe() == [] and window.errors == [] and window.outside == []


@needs_chromium
def test_a_long_page_is_shot_in_several_pictures(tmp_path, window):
    (tmp_path / "page.html").write_text(
        "<!doctype html><body style='margin: 0'>"
        + "".join(
            f"<div style='height: 500px; background: rgb({grey}, {grey}, {grey})'></div>" for grey in range(0, 250, 50)
        )
    )
    window.open(tmp_path / "page.html")
    made = window.shoot(tmp_path / "page-desktop.png", tallest=1000)
    assert [path.name for path in made] == ["page-desktop.png", "page-desktop-2.png", "page-desktop-3.png"]
    whole = np.concatenate([np.asarray(Image.open(path).convert("L")) for path in made])
    assert whole.shape == (2500, DESKTOP[0])
    assert np.array_equal(whole[:, 0], np.repeat(np.arange(0, 250, 50), 500))


@needs_chromium
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_window_shows_the_mode_asked_for(tmp_path, window, mode):
    """By the switch of the theme, and by the system where a page knows no switch."""
    (tmp_path / "page.html").write_text(
        "<!doctype html><style>body { background: #fff } "
        "@media (prefers-color-scheme: dark) { body { background: #111 } }</style>"
    )
    window.open(tmp_path / "page.html", mode)
    assert window.light() == (mode == "light")
    assert window.page.evaluate("[localStorage.mode, localStorage.theme]") == [mode, mode]


@needs_chromium
def test_quiz_by_keyboard(site, window):
    window.open(site / "site_page.html")
    quiz = window.page.locator("#quiz-test-one")
    says, answer = quiz.get_by_role("status"), quiz.locator("details")
    check = quiz.get_by_role("button", name="Check")
    assert quiz.get_by_role("group", name="1. Which is two?").count() == 1
    check.press("Enter")
    assert says.inner_text() == "Choose one first."

    quiz.get_by_role("radio", name="1", exact=True).press("Space")
    assert says.inner_text() == ""  # choosing does not mark: arrow keys choose as they move
    check.press("Enter")
    assert says.inner_text() == "Not quite."
    assert quiz.get_by_text("One is too few.").is_visible()
    assert answer.get_attribute("open") is None  # its own reason is enough, try again

    window.page.keyboard.press("Shift+Tab")
    window.page.keyboard.press("ArrowDown")
    check.press("Enter")
    assert says.inner_text() == "Not quite."
    assert answer.get_attribute("open") is not None  # no reason of its own: the explanation unfolds

    quiz.locator("input").nth(2).press("Space")
    assert answer.get_attribute("open") is None
    check.press("Enter")
    assert says.inner_text() == "Right."
    assert window.axe() == []
    assert window.errors == []


@needs_chromium
def test_quiz_with_several_right_choices_and_what_the_browser_keeps(served, window):
    window.page.goto(f"{served}/site_page.html", wait_until="load")
    quiz = window.page.locator("#quiz-test-many")
    quiz.get_by_role("checkbox", name="2").check()
    quiz.get_by_role("button", name="Check").click()
    assert quiz.get_by_role("status").inner_text() == "So far right, but not all."
    quiz.get_by_role("checkbox", name="4").check()
    quiz.get_by_role("button", name="Check").click()
    assert window.page.get_by_text("1 of 2 right on this page.").is_visible()

    window.page.reload()
    assert quiz.get_by_role("status").inner_text() == "Right."
    assert [box.is_checked() for box in quiz.get_by_role("checkbox").all()] == [True, False, True]
    window.page.get_by_role("button", name="Clear my answers").click()
    assert not any(box.is_checked() for box in quiz.get_by_role("checkbox").all())
    window.page.reload()
    assert quiz.get_by_role("status").inner_text() == ""


@needs_chromium
def test_quiz_without_choices_unfolds(site, window):
    window.open(site / "site_page.html")
    quiz = window.page.locator("#quiz-test-think")
    assert quiz.get_by_role("button").count() == 0
    assert not quiz.get_by_text("Because. A").is_visible()
    quiz.locator("summary").press("Enter")
    assert quiz.get_by_text("Because. A").is_visible()


@needs_chromium
def test_the_survey_of_chapter_11_from_the_first_to_the_last_picture(site, window):
    window.open(site / "11_real_or_synthetic.html")
    link = window.page.get_by_role("link", name="Open the survey")
    count = int(re.findall(r"\d+", link.inner_text())[-1])
    assert count == 2 * (SMALL["11_real_or_synthetic"]["small"] + SMALL["11_real_or_synthetic"]["large"])
    link.click()
    window.page.get_by_label("Your code").fill("p-1")
    window.page.get_by_role("button", name="Start").click()
    heading = window.page.locator("h2")
    for number in range(1, count + 1):
        assert heading.inner_text() == f"Picture {number} of {count}"
        window.page.wait_for_function("document.querySelector('.frame img').naturalWidth > 0")
        for key in ("rs"[number % 2], str(1 + number % 7), "Enter"):
            window.page.keyboard.press(key)
        window.page.wait_for_function(f"document.querySelector('h2').textContent !== 'Picture {number} of {count}'")
    assert heading.inner_text() == "Your result"
    assert window.axe() == []
    window.page.get_by_role("link", name="Back").first.click()
    assert "Real or synthetic" in window.page.title()
    assert window.errors == []
    assert window.outside == []
