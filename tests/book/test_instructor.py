"""The lesson plans of the instructor guide: minutes without gaps, places and material that exist, commands that do."""

import re

import pytest

from tests.book.chapters import BOOK

GUIDE = (BOOK / "instructor.md").read_text("utf8")
PLANS = re.findall(r"^## (\d+) minutes: .*?(?=^## )", GUIDE, re.DOTALL | re.MULTILINE)
BREAK = (90, 100)  # of the long one


def plan(minutes):
    """The rows of a plan as (from, to, text)."""
    text = re.search(rf"^## {minutes} minutes: (.*?)(?=^## )", GUIDE, re.DOTALL | re.MULTILINE)[1]
    return [(int(a), int(b), row) for a, b, row in re.findall(r"^\| (\d+)-(\d+) (\|.*)$", text, re.MULTILINE)]


def test_there_are_three_plans():
    assert PLANS == ["45", "90", "180"]


@pytest.mark.parametrize("minutes", map(int, PLANS))
def test_minutes_add_up(minutes):
    rows, at = plan(minutes), 0
    for start, end, _ in rows:
        at = BREAK[1] if at == BREAK[0] and minutes > BREAK[1] else at
        assert start == at < end
        at = end
    assert at == minutes


@pytest.mark.parametrize("minutes", map(int, PLANS))
def test_every_row_says_where(minutes):
    for _, _, row in plan(minutes)[:-1]:  # the last one is talk
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 3 and cells[0] and cells[2], row


def test_what_it_points_to_exists():
    for page in re.findall(r"\{doc\}`(?:[^`<]*<)?([\w]+)>?`", GUIDE):
        assert (BOOK / f"{page}.md").is_file(), page
    chapters = "".join((BOOK / name).read_text("utf8") for name in ("08_inpainting.md", "11_real_or_synthetic.md"))
    assert {"survey/index.html", "classroom/codes.html"} <= set(re.findall(r'href="_assets/([\w/.]+)"', GUIDE))
    written = {
        "survey/index.html": 'write_page(items, about, lead, Path(folder, "survey")',
        "survey/class.html": 'write_page(items, about, lead, Path(folder, "survey")',
        "survey/learning.html": 'learning.write_page(items, about, Path(folder, "survey")',
        "spot/spot.html": 'spot.write_page(differences, Path(pages, "spot")',
        **{f"classroom/{name}.html": f'"classroom/{name}.html"' for name in ("fields", "masks", "codes")},
    }
    for file in re.findall(r'href="_assets/([\w/.]+)"', GUIDE):
        assert written[file] in chapters, file
    for label in re.findall(r"\{ref\}`([\w-]+)`", GUIDE):
        assert any(f":label: {label}\n" in page.read_text("utf8") for page in BOOK.glob("*.md")), label


def test_every_command_is_one():
    from typer.main import get_command

    from diffinfinite_lite.cli import app

    survey = get_command(app).commands["survey"].commands
    commands = re.findall(r"`diffinfinite survey ([^`]+)`", GUIDE)
    assert {line.split()[0] for line in commands} == {"make", "serve", "learn", "spot"}
    for line in commands:
        name, *words = line.split()
        known = {option for parameter in survey[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
    assert "python -m http.server" in GUIDE  # phones cannot read a memory stick
