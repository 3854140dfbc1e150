"""The files of a survey: all of it or the one before, and nobody else's pictures removed."""

import pytest

from diffinfinite_lite.survey import page
from diffinfinite_lite.survey.page import write_page
from diffinfinite_lite.survey.pictures import make_items
from tests.survey.toys import make_fields


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_survey_takes_the_place_of_the_old_one_when_it_is_complete(tmp_path, monkeypatch):
    items = make_items(make_fields(2))
    first, second = items[:4], items[4:8]
    (tmp_path / "mine.jpg").write_text("mine")
    write_page(first, ["a"], "", tmp_path, title="First")
    before = contents(tmp_path)

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(page, "move", full)
        with pytest.raises(OSError, match=r"expected room for a survey in .*: No space left"):
            write_page(second, ["b"], "", tmp_path, title="Second")
    assert contents(tmp_path) == before
    write_page(second, ["b"], "", tmp_path, title="Second")
    assert set(contents(tmp_path)) == {"mine.jpg", "index.html", "class.html", *(f"{item.name}.jpg" for item in second)}
