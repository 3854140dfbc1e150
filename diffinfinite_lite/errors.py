"""What people read of an error: one sentence, on the command line and in the workbench."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any


def explain(error: Exception) -> str:
    """An error as one sentence: what was expected, or, where nobody expected it, what to report.

    >>> explain(ValueError("expected a size such as 1024x1024, got 'huge'"))
    "expected a size such as 1024x1024, got 'huge'"
    """
    if hasattr(error, "format_message"):
        return _about_options(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without importing it
        return "expected more memory than there is: a smaller --batch-size or --size needs less"
    if isinstance(error, OSError) and error.strerror:  # its own text is "[Errno 13] Permission denied: 'FILE'"
        return f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}"
    if isinstance(error, (ValueError, OSError, ImportError, FloatingPointError)):
        return " ".join(str(error).split())
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"an error that was not foreseen ({what}); please report it with the command, the version "
        f"{version('diffinfinite_lite')} and what `diffinfinite --debug` in front of the same command shows"
    )


def _about_options(error: Any) -> str:
    """What typer says of the options of a command; of a value that cannot be read, with what was typed."""
    refused = getattr(error.__cause__, "errors", list)()  # by pydantic, which knows what was typed
    if not refused:
        return f"{' '.join(error.format_message().split()).removesuffix('.')} (--help shows what there is)"
    kinds = {"int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number"}
    expected = kinds.get(refused[0]["type"], refused[0]["msg"].removeprefix("Input should be "))
    return f"expected {error.param.opts[0]} to be {expected}, got {refused[0]['input']!r}"
