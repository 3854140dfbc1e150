r"""Answers of people: the format in which the survey exports them, and a forgiving reader.

**Format** ``diffinfinite-survey-2``. A file has the answers of one rater, all of them or those given so far.

JSON::

    {"format": "diffinfinite-survey-2", "survey": "0123456789", "rater": "p-1", "experience": 8.5 or null,
     "asked": 60, "saved": "2026-11-29T03:00:00Z",
     "answers": [{"item": "0123456789ab", "size": "small" or "large", "truth": "real", "synthetic" or "",
                  "origin": "" or where the picture comes from, "answer": "real" or "synthetic", "confidence": 1 to 7,
                  "seconds": 3.2, "position": 1, "taps": [[0.25, 0.5], ...]}, ...]}

CSV has the same as columns, `COLUMNS`, one row an answer, the first five repeated in each; taps as ``0.25:0.5 0.1:0.9``.
``asked`` is how many pictures that rater's version of the survey has, so a file of fewer answers is a partial one. Then
truth and origin are empty, since the rater can still go on: they are known from a file of somebody who has finished, or
from the `Key` of the survey's page. ``taps`` are the red pen's marks, as shares of the picture's side from its upper
left corner. A reader has to take ``asked``, ``saved``, ``origin``, ``taps`` and ``experience`` for optional.

**Answer code**, to copy or to scan: ``DS2`` and base 32 of bytes (see `encode_answers`). It has every answer and
confidence, and the time of all together; no taps.

`read_answers` takes all of these as people hand them in: twice, saved again by a spreadsheet, unfinished. What it could
not use, or had to choose between, it says in a warning that names the file.
"""
