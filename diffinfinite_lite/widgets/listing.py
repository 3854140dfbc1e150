"""Code of the library on a page, as it ran: what a chapter explains is what the reader would call.

The code is read from the modules when the page is built, so that page and library cannot differ. Docstrings are left
out, since the page says the same at length; comments stay.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Any

from ..extras import extra

with extra("course"):
    from IPython.display import Markdown

PACKAGE = Path(__file__).parents[1]


def without_docstrings(code: str) -> str:
    """Python source without the docstrings of its functions and classes.

    >>> print(without_docstrings('def f(x):\\n    "What it does."\\n\\n    return x  # as it came'))
    def f(x):
        return x  # as it came
    """
    lines = code.splitlines()
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) and len(node.body) > 1:
            first = node.body[0]
            dropped |= set(range(first.lineno - 1, first.end_lineno or first.lineno))
            below = first.end_lineno or first.lineno
            if below < len(lines) and not lines[below].strip():  # the empty line that parts it from the code
                dropped.add(below)
    return "\n".join(line for number, line in enumerate(lines) if number not in dropped)


def listing(*objects: Any) -> Markdown:
    """Source of functions, classes or methods of this library, each under the file it stands in.

    Raises
    ------
    ValueError
        If there is nothing to show, or something that is not of this library.

    >>> print(listing(without_docstrings).data.splitlines()[0])
    `diffinfinite_lite/widgets/listing.py`
    """
    if not objects:
        raise ValueError("expected functions or classes to show, got none")
    parts = []
    for shown in objects:
        file = Path(inspect.getsourcefile(shown) or "").resolve()
        if not file.is_relative_to(PACKAGE.resolve()):
            raise ValueError(f"expected functions or classes of diffinfinite_lite, got {shown!r}")
        code = without_docstrings(textwrap.dedent(inspect.getsource(shown)))
        parts.append(f"`{file.relative_to(PACKAGE.resolve().parent).as_posix()}`\n\n```python\n{code}\n```")
    return Markdown("\n\n".join(parts))
