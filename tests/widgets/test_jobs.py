"""The queue of a workbench: order, places, overtaking, and an end within one operation of torch."""

import threading

import pytest
import torch

from diffinfinite_lite.widgets.jobs import Cancelled, Queue


@pytest.fixture
def queue():
    queue = Queue(1)
    yield queue
    queue.close()


class Held:
    """Work that waits until it may go on."""

    def __init__(self):
        self.began, self.may_end = threading.Event(), threading.Event()

    def __call__(self, job):
        self.began.set()
        self.may_end.wait(10)
        job.check()
        return "held"


def test_others_wait_in_order_and_know_their_place(queue):
    first, order, places = Held(), [], []
    held = queue.submit("a", first)
    first.began.wait(10)
    waiting = [
        queue.submit(name, lambda job: order.append(job.owner), lambda job: places.append((job.owner, job.place)))
               for name in "bcd"]  # fmt: skip
    assert [job.place for job in waiting] == [1, 2, 3]
    queue.cancel("b")
    assert waiting[0].phase == "cancelled" and [job.place for job in waiting[1:]] == [1, 2]
    first.may_end.set()
    assert all(job.wait(10) for job in (held, *waiting))
    assert held.result == "held" and order == ["c", "d"] and ("d", 2) in places


def test_the_newest_request_of_a_person_overtakes_the_others(queue):
    running, done = Held(), []
    first = queue.submit("a", running)
    running.began.wait(10)
    second, third = (queue.submit("a", lambda job, n=n: done.append(n)) for n in (2, 3))
    running.may_end.set()
    assert third.wait(10) and first.wait(10) and second.wait(10)
    assert [first.phase, second.phase, third.phase] == ["cancelled", "cancelled", "done"] and done == [3]


def test_workers_work_at_the_same_time():
    queue, both = Queue(2), threading.Barrier(2, timeout=10)
    jobs = [queue.submit(owner, lambda job: both.wait()) for owner in "ab"]
    assert all(job.wait(10) and job.phase == "done" for job in jobs)
    queue.close()


def test_cancelling_stops_before_the_next_operation_of_torch(queue):
    calls = []

    def work(job):
        for number in range(100):
            torch.ones(1).add(1)
            calls.append(number)
            if number == 2:
                job.cancel()

    job = queue.submit("a", work)
    assert job.wait(10) and job.phase == "cancelled" and calls == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "sentence"), [(ValueError("expected\n a, got b"), "expected a, got b"), (KeyError("x"), "not foreseen")]
)
def test_an_error_is_a_sentence_and_the_queue_lives_on(queue, error, sentence, caplog):
    def work(job):
        raise error

    job = queue.submit("a", work)
    assert job.wait(10) and job.phase == "failed" and sentence in job.error and "\n" not in job.error
    assert queue.submit("a", lambda job: 1).wait(10)
    assert bool(caplog.records) == isinstance(error, KeyError)  # what nobody foresaw is in the server's log, too


def test_a_stage_has_pieces_and_an_estimate(queue):
    seen = []

    def work(job):
        for _ in job.follow(range(3), 3, "levels"):
            seen.append((job.stage, job.done, job.total, job.seconds_left is None))

    assert queue.submit("a", work).wait(10)
    assert seen == [("levels", 0, 3, True), ("levels", 1, 3, False), ("levels", 2, 3, False)]


def test_a_closed_queue_takes_nothing_and_has_stopped_its_jobs():
    queue, held = Queue(1), Held()
    job = queue.submit("a", held)
    held.began.wait(10)
    later = queue.submit("b", held)
    held.may_end.set()
    queue.close()
    assert job.over and later.phase == "cancelled"
    with pytest.raises(ValueError, match="expected a queue that is open"):
        queue.submit("a", held)
    with pytest.raises(ValueError, match="expected at least 1 worker, got 0"):
        Queue(0)
    with pytest.raises(Cancelled):
        later.cancel() or later.check()
