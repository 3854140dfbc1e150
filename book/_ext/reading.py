"""Sphinx extension: two ways to read one book, *Look* and *Look and code*.

Both are one page; the switch (``_static/reading.js``) sets ``data-view`` of the document, and ``_static/reading.css``
hides what is not for that view. Without JavaScript everything is shown. What belongs to one view alone:

    ```{view} code
    Said to those alone who see the code.
    ```

    ## A section of code
    ```{view} code
    ```

The second, without content, gives its whole section to the view. Sections called *Exercises* belong to *Look and
code*, and so do cells tagged ``code-only`` and cells that print a source (``inspect.getsource``). *Look* shows no
code, of a quiz the question with the option ``:look:``, and of a take-away the sentence in ``{take-home}``.

A folded cell says what it does: the comment in its first line becomes the title of the fold.

Code with lines longer than `COLUMN` reaches across the margin (the theme's ``full-width``), so that no line of it is
broken on a screen of 1,280 px.

*Look* has its own path, ``look_path`` of ``_config.yml``: pairs of a document and why to read it, in order. Every page
gets a line to go on along it, the last one leads to the documents of ``look_end``, and ``{look-path}`` lists it with
minutes, which are counted: words, pictures, things to move. Boxes *You will learn* promise the whole page, so that
*Look* has a line with its minutes instead.
"""

from __future__ import annotations

from html import escape
from math import ceil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

VIEWS = ("look", "code")
CODE_ONLY = "tag_code-only"  # myst-nb makes a class of every tag
COLUMN = 80  # characters of code that fit into the column of text (`_static/site.css` has the size of the letters)
WORDS_A_MINUTE = 200  # of a text that is not read for pleasure
SECONDS_A_PICTURE, SECONDS_A_WIDGET = 12, 45


class look_path(nodes.General, nodes.Element):
    """Where the path will be listed."""


class View(SphinxDirective):
    """``{view} look`` or ``{view} code``: see the module."""

    has_content = True
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in VIEWS:
            raise self.error(f"expected one of the views {', '.join(VIEWS)}, got {self.arguments[0]!r}")
        holder = nodes.container(classes=[f"{self.arguments[0]}-view"])
        if self.content:
            self.state.nested_parse(self.content, self.content_offset, holder)
        else:
            holder["section"] = True
        return [holder]


class TakeHome(SphinxDirective):
    """``{take-home}``: the one sentence of a chapter."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        holder = nodes.container(classes=["take-home"])
        holder += nodes.paragraph("", "To take home", classes=["take-home-title"])
        self.state.nested_parse(self.content, self.content_offset, holder)
        return [holder]


class LookPath(SphinxDirective):
    """``{look-path}``: the path as a list."""

    def run(self) -> list[nodes.Node]:
        return [look_path()]


class SortViews(SphinxTransform):
    """Gives sections and cells to their view, and folded cells their title."""

    default_priority = 500

    def apply(self, **kwargs: object) -> None:
        for holder in list(self.document.findall(nodes.container)):
            if holder.get("section"):
                holder.parent["classes"] += holder["classes"]
                holder.parent.remove(holder)
            elif holder.get("nb_element") == "cell_code":
                _sort_cell(holder)
        # On a page without contents in its margin the theme's script would look for them there, and fail.
        margin = len(list(self.document.findall(nodes.section))) > 1
        for block in self.document.findall(nodes.literal_block) if margin else ():
            if "python" in block.get("language", "") and max(map(len, block.astext().split("\n"))) > COLUMN:
                block["classes"].append("full-width")
        for box in self.document.findall(nodes.admonition):
            title = box.next_node(nodes.title)
            if title is not None and title.astext() == "You will learn" and self.env.docname in _names(self.config):
                box["classes"].append("code-view")
        for section in self.document.findall(nodes.section):
            title = section.next_node(nodes.title)
            if title is not None and title.parent is section and title.astext() == "Exercises":
                section["classes"].append("code-view")


def _names(config) -> list[str]:
    """The documents of the path."""
    return [name for name, _ in config.look_path]


def _sort_cell(cell: nodes.container) -> None:
    source = next((part for part in cell.findall(nodes.literal_block)), None)
    if source is None:
        return
    if "inspect.getsource(" in source.astext() and CODE_ONLY not in cell["classes"]:
        cell["classes"].append(CODE_ONLY)
    title = fold_title(source.astext())
    if title and cell.get("hide_mode"):
        cell["prompt_show"] = cell["prompt_hide"] = title


def fold_title(source: str) -> str | None:
    """What a cell says of itself: the comment in its first line.

    >>> fold_title("# Draws the masks\\nplot()"), fold_title("plot()  # masks")
    ('Draws the masks', None)
    """
    first = source.lstrip().split("\n", 1)[0]
    return first.removeprefix("#").strip() or None if first.startswith("# ") else None


def seconds(node: nodes.Node) -> float:
    """Seconds that a reader of *Look* spends on a part of a page: words, pictures, things to move by hand."""
    if isinstance(node, nodes.Text):
        return 60 * len(node.astext().split()) / WORDS_A_MINUTE
    classes = set(node.get("classes", [])) if isinstance(node, nodes.Element) else set()
    if classes & {"code-view", CODE_ONLY} or getattr(node, "get", lambda *_: None)("nb_element") == "cell_code_source":
        return 0
    if isinstance(node, nodes.Invisible | nodes.system_message):
        return 0
    if isinstance(node, nodes.image):
        return SECONDS_A_PICTURE
    if isinstance(node, nodes.raw):
        return SECONDS_A_WIDGET if "<script" in node.astext() else SECONDS_A_PICTURE
    if node.get("nb_element") == "mime_bundle":  # one output in several formats
        return max((seconds(child) for child in node.children), default=0)
    if type(node).__name__ == "quiz" and not node.get("look"):
        return 0
    if isinstance(node, nodes.section) and node["names"] == ["take-away"]:
        return sum(seconds(child) for child in node.children if "take-home" in child.get("classes", []))
    return sum(seconds(child) for child in node.children)


def _count(app: Sphinx, doctree: nodes.document) -> None:
    app.env.__dict__.setdefault("diffinfinite_seconds", {})[app.env.docname] = seconds(doctree)


def _forget(app: Sphinx, env, docname: str) -> None:
    getattr(env, "diffinfinite_seconds", {}).pop(docname, None)


def _merge(app: Sphinx, env, docnames: set[str], other) -> None:
    known = env.__dict__.setdefault("diffinfinite_seconds", {})
    known |= {name: value for name, value in getattr(other, "diffinfinite_seconds", {}).items() if name in docnames}


def _minutes(env, docname: str) -> int:
    return max(1, ceil(env.diffinfinite_seconds[docname] / 60))


class FillPath(SphinxPostTransform):
    """Puts the path where ``{look-path}`` stands."""

    default_priority = 5

    def run(self, **kwargs: object) -> None:
        for place in list(self.document.findall(look_path)):
            path, steps = self.config.look_path, nodes.enumerated_list(enumtype="arabic", prefix="", suffix=".")
            for name, why in path:
                address = f"{self.app.builder.get_relative_uri(self.env.docname, name)}?view=look"
                line = nodes.paragraph()
                line += nodes.reference("", self.env.titles[name].astext(), refuri=address, internal=True)
                line += nodes.Text(f", {_minutes(self.env, name)} min: {why}")
                steps += nodes.list_item("", line)
            total = sum(_minutes(self.env, name) for name, _ in path)
            place.replace_self([steps, nodes.paragraph("", f"{total} minutes in all.", classes=["look-total"])])


def _check_path(app: Sphinx, env) -> None:
    for name in (*_names(app.config), *app.config.look_end):
        if name not in env.found_docs:
            raise ValueError(f"expected documents of the book in look_path and look_end, got {name!r}")


def path_links(names: list[str], page: str) -> tuple[int | None, str | None, str | None]:
    """Place of a page on the path, counted from 1, and the pages before and after it.

    >>> path_links(["a", "b", "c"], "b")
    (2, 'a', 'c')
    >>> path_links(["a", "b", "c"], "elsewhere")
    (None, None, 'a')
    """
    if page not in names:
        return None, None, names[0]
    at = names.index(page)
    return at + 1, names[at - 1] if at else None, names[at + 1] if at + 1 < len(names) else None


def _finish_page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    if not context.get("body") or not app.config.look_path or pagename not in app.env.found_docs:
        return
    context["body"] = context["body"].replace('<summary aria-label="Toggle hidden content">', "<summary>")
    names = _names(app.config)
    place, before, after = path_links(names, pagename)

    def link(name: str, words: str, kind: str) -> str:
        address = "" if name == pagename else context["pathto"](name)
        return f'<a class="look-{kind}" href="{address}?view=look">{words} {escape(app.env.titles[name].astext())}</a>'

    said = f"Step {place} of {len(names)}" if place else "Not on the path of <em>Look</em>"
    if pagename == app.config.root_doc:
        said = f"The path of <em>Look</em>, {len(names)} steps"
    if place:
        minutes = _minutes(app.env, pagename)
        line = f'<p class="look-view look-minutes">{said} · {minutes} minute{"s" if minutes > 1 else ""} to read</p>'
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{line}", 1)
    parts = [f'<p class="look-place">{said}</p>']
    if before:
        parts.append(link(before, "Back:", "back"))
    if after:
        parts.append(link(after, "Next:" if place else "To its start:", "next"))
    else:
        parts.append('<p class="look-place">That was the path. Go on as you like:</p>')
        parts += [link(name, "", "on") for name in app.config.look_end]
    steps = "".join(f'<li{" aria-current=page" if name == pagename else ""}>{link(name, "", "step")}</li>'
                    for name in names)  # fmt: skip
    context["body"] += (
        f'\n<nav class="look-view look-path" aria-label="Path of Look">{"".join(parts)}<ol hidden>{steps}</ol></nav>'
    )


ENTRY = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<script>location.replace("{page}" + location.search + location.hash);</script>
<noscript><meta http-equiv="refresh" content="0; url={page}"></noscript>
<a href="{page}">{title}</a>
"""


def _write_entry(app: Sphinx, exception: Exception | None) -> None:
    """An ``index.html`` that leads to the first page in the view asked for, as ``/?view=look``."""
    if exception is None and app.builder.format == "html" and app.config.root_doc != "index":
        page = app.builder.get_target_uri(app.config.root_doc)
        title = escape(app.env.titles[app.config.root_doc].astext())
        (Path(app.outdir) / "index.html").write_text(ENTRY.format(page=page, title=title), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, object]:
    app.add_config_value("look_path", [], "env")
    app.add_config_value("look_end", [], "env")
    app.add_node(look_path)
    app.add_directive("view", View)
    app.add_directive("take-home", TakeHome)
    app.add_directive("look-path", LookPath)
    app.add_transform(SortViews)
    app.add_post_transform(FillPath)
    app.connect("doctree-read", _count)
    app.connect("env-purge-doc", _forget)
    app.connect("env-merge-info", _merge)
    app.connect("env-updated", _check_path)
    app.connect("html-page-context", _finish_page, priority=650)
    app.connect("build-finished", _write_entry, priority=50)  # before another extension writes one without the view
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
