"""Sphinx extension: the API reference lists every module, one page a room (folder) of the library.

A comment ``% room NAME`` in a page is replaced by one section for each module of that folder (``.``: of none), with its
docstrings (autodoc, napoleon). Nothing has to be added when a module is.
"""

from __future__ import annotations

import inspect
import re
from functools import partial
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^% room ([\w.]+)$", re.MULTILINE)
OPTION = re.compile(r"~?[\w.]*\bAnnotated\[(.+?), <typer\.[\w.]+ object at 0x[0-9a-f]+>\]")


def modules(package: Path, room: str) -> list[str]:
    """Dotted names below the package of a room's modules, the room "." holding those of no other."""
    folder = package if room == "." else package / room
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return names if room == "." else [f"{room}.{name}" for name in names]


def sections(names: list[str], package: str = "diffinfinite_lite") -> str:
    """MyST text of the reference of some modules."""
    return "\n".join(
        f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {package}.{name}\n   :members:\n"
        f"   :show-inheritance:\n   :member-order: bysource\n```\n"
        for name in names
    )


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = MARK.sub(lambda mark: sections(modules(ROOT / "diffinfinite_lite", mark[1])), source[0])


def examples(lines: list[str]) -> list[str]:
    """A docstring whose doctests after a section ("Parameters", "Raises") stand under a heading of their own.

    >>> examples(["Raises", "------", "ValueError : no.", "", ">>> 1", "1"])[3:7]
    ['', 'Examples', '--------', '>>> 1']
    """
    out: list[str] = []
    for number, line in enumerate(lines):
        underlined = any(re.fullmatch(r"-{3,}", earlier) for earlier in out)
        if line.startswith(">>>") and underlined and not lines[number - 1].strip() and "Examples" not in out:
            out += ["Examples", "--------"]
        out.append(line)
    return out


def literal(lines: list[str]) -> list[str]:
    """A docstring whose indented blocks (formulas, small tables) are shown as they are typed.

    >>> literal(["Loss:", "", "    L = |x|", "", "More."])[2:5]
    ['::', '', '    L = |x|']
    """
    out: list[str] = []
    inside = False
    for number, line in enumerate(lines):
        deep = line.startswith("    ")
        if deep and not inside and number and not lines[number - 1].strip():
            out += ["::", ""]
        inside = deep or (inside and not line.strip())
        out.append(line)
    return out


def without_options(signature: str) -> str:
    """A signature with the types of a command's parameters, without the objects that describe its options.

    >>> without_options("(a: ~types.Annotated[str | None, <typer.models.OptionInfo object at 0x7f88>] = None, b: int)")
    '(a: str | None = None, b: int)'
    """
    return OPTION.sub(r"\1", signature)


def _signature(app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returned: str):
    return signature and without_options(signature), returned


def _docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = literal(lines) if what == "module" else examples(lines)
    if what == "property" and lines:
        lines[0] = lines[0].replace(": ", " \u2013 ", 1)  # napoleon would take what precedes a colon for a type


def _own_signature(app: Sphinx, obj: object, bound_method: bool) -> None:
    """Show a function with the parameters in its source; autodoc cannot find defaults of others there.

    What `pipelines.config.takes_settings` adds is described once, at `SamplingConfig`.
    """
    if inspect.isfunction(obj):
        vars(obj).pop("__signature__", None)


def _contents(made: dict, app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    """Make the table of contents beside pages of code once for all in one depth of folders: none of them is in it.

    For each of some 150 pages Sphinx would copy the headings of the whole book.
    """
    if not pagename.startswith("_modules/") or "toctree" not in context:
        return
    make, depth = context["toctree"], pagename.count("/")

    def toctree(**options: object) -> str:
        key = (depth, *sorted(options.items()))
        if key not in made:
            made[key] = make(**options)
        return made[key]

    context["toctree"] = toctree


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("html-page-context", partial(_contents, {}), priority=100)  # before the theme asks for it
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-before-process-signature", _own_signature, priority=400)  # before defaults are looked up
    app.connect("source-read", _read)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
