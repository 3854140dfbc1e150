"""The store of the live service: nothing counts twice, nothing is lost, and what cannot be stored is said."""

import json
import sqlite3
import threading

import pytest

from diffinfinite_lite.survey.deck import INDEX, read_deck, write_deck
from diffinfinite_lite.survey.store import KEY, MAX_RATERS, NAME, Answer, Closed, Store, Unavailable
from tests.survey.decks import small_deck

NONCE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def store(database):
    store = Store(database, small_deck())
    yield store
    store.engine.dispose()


@pytest.fixture
def file_store(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'class.sqlite'}", small_deck())
    yield store
    store.engine.dispose()


def join(store, nonce=NONCE, asked=12):
    return store.rater(store.join(nonce, asked, 3.5))


def answers(rater, items, said="real", revision=0):
    return [Answer(rater.rater, item, said, 4, 1.5, revision) for item in items]


def test_an_answer_counts_once_and_the_newest_one(store):
    rater = join(store)
    first, second, *_ = store.order(rater)
    assert store.save(answers(rater, [first, second])) == [True, True]
    assert store.save(answers(rater, [first], "synthetic", 0)) == [True]  # a retry says nothing new
    assert store.given(rater.rater)[first].answer == "real"
    assert store.save(answers(rater, [first], "synthetic", 2)) == [True]
    assert store.save(answers(rater, [first], "real", 1)) == [True]  # late, from before the change
    assert store.given(rater.rater)[first].answer == "synthetic"
    in_one_batch = answers(rater, [second], "synthetic", 5) + answers(rater, [second], "real", 4)
    assert store.save(in_one_batch) == [True, True]
    assert store.given(rater.rater)[second].answer == "synthetic"
    assert [row["item"] for row in store.rows()] == [first, second]


def test_raters_are_codes_that_can_be_asked_for_again(store):
    code = store.join(NONCE, 12)
    assert store.join(NONCE, 12) == code and len(store.raters()) == 1  # the reply was lost, the browser asks again
    other = store.join(NONCE[::-1], 12)
    assert other[:NAME] != code[:NAME] and len(code) == NAME + KEY
    assert store.rater(f"{code[:NAME]}-{code[NAME:]}".lower()).rater == code[:NAME]
    assert store.rater(code[:NAME] + other[NAME:]) is None and store.rater("") is None
    everything = json.dumps([vars(rater) for rater in store.raters()])
    assert code[NAME:] not in everything  # of the key, only a hash is kept


def test_orders_differ_between_raters_and_stay_after_a_restart(store, database):
    raters = [join(store, f"{i:032d}") for i in range(4)]
    orders = [store.order(rater) for rater in raters]
    assert len(set(map(tuple, orders))) > 1
    assert all(set(order) == {item.name for item in store.deck.items} for order in orders)
    again = Store(database, small_deck())
    assert [again.order(rater) for rater in raters] == orders and again.room == store.room
    again.engine.dispose()


def test_the_short_version_is_the_same_for_all():
    deck = small_deck(30)
    store = Store("sqlite://", deck)
    chosen = {frozenset(store.order(join(store, f"{i:032d}", asked=20))) for i in range(3)}
    assert len(chosen) == 1 and len(*chosen) == 20


def test_names_of_pictures_tell_nothing_and_differ_between_classes(file_store, tmp_path):
    other = Store(f"sqlite:///{tmp_path / 'other.sqlite'}", small_deck())
    for item in file_store.deck.items:
        assert item.name not in file_store.opaque(item.name)
        assert file_store.opaque(item.name) != other.opaque(item.name)


def test_the_truth_is_told_after_the_last_answer_and_then_nothing_changes(store):
    rater = join(store)
    *most, last = store.order(rater)
    store.save(answers(rater, most))
    with pytest.raises(Closed, match="after the last answer: 11 of 12"):
        store.finish(rater)
    store.save(answers(rater, [last]))
    store.finish(rater)
    assert store.save(answers(rater, [last], "synthetic", 9)) == [False]
    assert store.given(rater.rater)[last].answer == "real"


def test_after_the_class_nobody_answers_or_joins(store):
    rater = join(store)
    store.close()
    assert store.save(answers(rater, store.order(rater))) == [False] * 12
    with pytest.raises(Closed, match="is over"):
        store.join(NONCE[::-1], 12)
    assert store.join(NONCE, 12)[:NAME] == rater.rater  # whoever was there can look at it again


def test_a_class_has_so_many_participants(file_store, monkeypatch):
    monkeypatch.setattr("diffinfinite_lite.survey.store.MAX_RATERS", 2)
    assert MAX_RATERS > 2
    for i in range(2):
        join(file_store, f"{i:032d}")
    with pytest.raises(Closed, match="full"):
        join(file_store, NONCE)


def test_deleting_one_and_all(store):
    one, other = join(store), join(store, NONCE[::-1])
    for rater in (one, other):
        store.save(answers(rater, store.order(rater)))
        store.mark(rater.rater, store.order(rater)[0], [(0.5, 0.25)])
        store.mark(rater.rater, store.order(rater)[0], [(0.5, 0.75)])
    assert {row["rater"] for row in store.rows()} == {one.rater, other.rater}
    store.forget(one.rater)
    assert {row["rater"] for row in store.rows()} == {other.rater}
    assert list(store.taps().values()) == [[(0.5, 0.75)]]
    room = store.room
    store.close()
    store.erase()
    assert not store.rows() and not store.taps() and not store.raters() and not store.closed and store.room != room


def test_what_is_deleted_leaves_the_file(file_store, tmp_path):
    code = file_store.join(NONCE, 12)
    rater = file_store.rater(code)
    file_store.save(answers(rater, file_store.order(rater)))
    assert rater.rater.encode() in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    file_store.erase()
    assert rater.rater.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert (tmp_path / "class.sqlite").stat().st_mode & 0o077 == 0  # nobody else reads it


def test_raters_at_once_in_two_servers(database):
    stores = [Store(database, small_deck()) for _ in range(2)]
    rater = join(stores[0])
    items, failed = stores[0].order(rater), []

    def send(store):
        try:
            for item in items:
                assert store.save(answers(rater, [item])) == [True]
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=send, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(stores[1].rows()) == 12
    for store in stores:
        store.engine.dispose()


def test_a_database_belongs_to_one_deck(file_store, database):
    url = str(file_store.engine.url)
    with pytest.raises(ValueError, match=r"expected a database of survey \w+, got one of survey"):
        Store(url, small_deck(10))


@pytest.mark.parametrize("url", ["class.sqlite", "nothing://x", "postgresql+nothing://x"])
def test_what_is_no_database_is_refused(url):
    with pytest.raises(ValueError, match=r"expected a database such as sqlite:///class\.sqlite, got"):
        Store(url, small_deck())


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match=r"expected a database that can be written at .*: No such file"):
        Store(f"sqlite:///{tmp_path}/nothing/class.sqlite", small_deck())


def test_a_full_disk_stores_nothing_and_then_goes_on(file_store):
    rater = join(file_store)

    def limit(pages):  # of the file, as SQLite counts them; the pool gives the same connection again
        with file_store.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    limit(1)  # no page more than there are
    stored = 0
    with pytest.raises(Unavailable, match="its disk is full"):
        for stored in range(10_000):
            file_store.save([Answer(rater.rater, f"{stored:016d}", "real", 4, 1.0)])
    assert len(file_store.given(rater.rater)) == stored > 0  # those that were acknowledged, and no other
    limit(1_000_000)
    file_store.save([Answer(rater.rater, "afterwards", "real", 4, 1.0)])
    assert len(file_store.given(rater.rater)) == stored + 1


def test_a_locked_database_is_waited_for_and_then_said(file_store, tmp_path, monkeypatch):
    rater = join(file_store)
    item = file_store.order(rater)[0]
    with file_store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=100")
    other = sqlite3.connect(tmp_path / "class.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="its database is busy"):
        file_store.save(answers(rater, [item]))
    assert file_store.given(rater.rater) == {}  # reading goes on
    other.execute("COMMIT")
    assert file_store.save(answers(rater, [item])) == [True]
    other.close()


# decks


def test_a_deck_comes_back(tmp_path):
    deck = small_deck()
    write_deck(deck.items, deck.about, deck.lead, tmp_path)
    assert read_deck(tmp_path) == deck
    with pytest.raises(FileExistsError, match="--force overwrites"):
        write_deck(deck.items, deck.about, deck.lead, tmp_path)
    fewer = small_deck(10)
    write_deck(fewer.items, deck.about, deck.lead, tmp_path, force=True)
    assert read_deck(tmp_path).items == fewer.items and len(list(tmp_path.glob("*.jpg"))) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / INDEX).unlink(), "found no survey.json: `diffinfinite survey make --out"),
        (lambda folder: (folder / INDEX).write_text("[]"), "expected a file that `diffinfinite survey make` wrote"),
        (lambda folder: (folder / INDEX).write_text('{"format": "x"}'), '"format" is'),
        (lambda folder: next(folder.glob("*.jpg")).write_bytes(b"another"), "is not the picture that it was"),
        (lambda folder: next(folder.glob("*.jpg")).unlink(), "cannot be read"),
        (lambda folder: (folder / INDEX).write_text((folder / INDEX).read_text().replace('"name": "', '"name": "../')),
         "a picture is called"),
    ],
)  # fmt: skip
def test_a_deck_that_is_none(tmp_path, change, message):
    deck = small_deck()
    write_deck(deck.items, deck.about, deck.lead, tmp_path)
    change(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_deck(tmp_path)


def test_a_process_that_only_looks_waits_for_no_lock(file_store, tmp_path):
    join(file_store)
    other = sqlite3.connect(tmp_path / "class.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    looking = Store(str(file_store.engine.url), small_deck())
    assert len(looking.raters()) == 1 and looking.rows() == [] and not looking.closed
    looking.engine.dispose()
    other.close()
