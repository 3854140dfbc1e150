"""What people read of an error: one sentence, on the command line and in the workbench."""

from __future__ import annotations

from importlib.metadata import version


def explain(error: Exception) -> str:
    """An error as one sentence: what was expected, or, where nobody expected it, what to report.

    >>> explain(ValueError("expected a size such as 1024x1024, got 'huge'"))
    "expected a size such as 1024x1024, got 'huge'"
    """
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
