"""Cards for a class: nothing on the page tells before the answers are opened."""

import re

import numpy as np
import pytest

from diffinfinite_lite.labels import LABEL_COLOURS
from diffinfinite_lite.survey.cards import Card, colours, write_cards, write_codes
from tests.check_site import chromium


def test_letters_and_answers_belong_together_and_order_does_not_tell(tmp_path):
    cards = [Card(np.full((8, 8, 3), 20 * i, np.uint8), f"answer <{i}>") for i in range(6)]
    texts = [write_cards(some, tmp_path / "a" / "cards.html", title="T", task="Sort", legend=True).read_text()
             for some in (cards, cards[::-1])]  # fmt: skip
    assert texts[0] == texts[1]
    before, after = texts[0].split("<details>")
    assert "answer" not in before and "carcinoma" in before
    shown = re.findall(r'src="data:image/png;base64,([^"]+)" alt="Card (.)"', before)
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    found = {letter: int(np.asarray(Image.open(BytesIO(b64decode(data))))[0, 0, 0]) // 20 for data, letter in shown}
    assert {letter: int(i) for letter, i in re.findall(r"<li>(.): answer &lt;(\d)&gt;", after)} == found
    with pytest.raises(ValueError, match="1 to 26 cards, got 0"):
        write_cards([], tmp_path / "b.html", title="T", task="")


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")
def test_the_legend_has_its_colours_on_paper(tmp_path, browser):
    card = Card(np.zeros((8, 8, 3), np.uint8), "a")
    file = write_cards([card], tmp_path / "cards.html", title="T", task="", legend=True)
    page = browser.new_page()
    page.goto(file.resolve().as_uri())
    page.emulate_media(media="print")
    read = "e => e.map((s) => [getComputedStyle(s).printColorAdjust, getComputedStyle(s).backgroundColor])"
    assert page.locator(".swatch").evaluate_all(read) == [["exact", f"rgb{colour}"] for colour in LABEL_COLOURS]


def test_codes_are_all_different_and_valid_in_the_survey(tmp_path):
    text = write_codes(tmp_path / "class/codes.html", 12, home="../guide.html").read_text("utf8")
    codes = re.findall(r"<strong>(.*?)</strong>", text)
    assert codes == [f"p{n:02d}" for n in range(1, 13)]
    assert "https://" not in text and 'href="../guide.html"' in text
    for count in (0, 100):
        with pytest.raises(ValueError, match=f"1 to 99 codes, got {count}"):
            write_codes(tmp_path / "codes.html", count)
    assert not (tmp_path / "codes.html").exists()


def test_masks_have_the_books_colours():
    assert colours(np.array([[0, 3]])).tolist() == [[list(LABEL_COLOURS[0]), list(LABEL_COLOURS[3])]]
