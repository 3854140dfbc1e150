"""Figures in a process of their own are those of this one, and their process can be lost."""

import multiprocessing

import pytest

from diffinfinite_lite.survey.deck import write_deck
from diffinfinite_lite.survey.figures import Figures
from diffinfinite_lite.survey.store import Answer, Store, Unavailable
from diffinfinite_lite.survey.summary import summary
from tests.survey.decks import small_deck


def test_the_same_figures_and_a_new_process_after_a_lost_one(tmp_path):
    deck, url = small_deck(), f"sqlite:///{tmp_path / 'class.sqlite'}"
    write_deck(deck.items, deck.about, deck.lead, tmp_path)
    store, figures = Store(url, deck), Figures(tmp_path, url)
    rater = store.rater(store.join("0" * 32, 12, 3.5))
    assert figures() == summary(store)
    store.save([Answer(rater.rater, item, "real", 4, 1.5) for item in store.order(rater)])
    store.mark(rater.rater, store.order(rater)[0], [(0.25, 0.5)])
    assert figures() == summary(store) and figures()["figures"]["accuracy"]["n"] == 12
    (process,) = multiprocessing.active_children()
    process.kill()
    process.join()
    with pytest.raises(Unavailable, match="not ready"):
        figures()
    assert figures() == summary(store)
    (process,) = multiprocessing.active_children()
    figures.close()  # as the end of this process would: it closes the pipe
    process.join(30)
    assert process.exitcode == 0
    store.engine.dispose()
