"""Sphinx extension: where the repository is public, every page and every module of the API leads to its source there.

The setting is ``repository`` in ``_config.yml``; without a GitHub address there is nothing to edit, and no link. The
code itself can be read in any case: ``sphinx.ext.viewcode`` puts it into the site.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from sphinx.application import Sphinx

MODULE = re.compile(r"^## `([\w.]+)`$", re.MULTILINE)
BAR = re.compile(r'(<p class="run-page">.*?)(</p>)', re.DOTALL)


def edit_address(url: str, branch: str, path: str) -> str | None:
    """Address at which a file of a repository on GitHub is edited, None without one.

    >>> edit_address("https://github.com/you/copy/", "main", "book/01_tour.md")
    'https://github.com/you/copy/edit/main/book/01_tour.md'
    >>> edit_address("", "main", "book/01_tour.md") is None
    True
    """
    found = re.match(r"^(https://github\.com/[\w.-]+/[\w.-]+?)(?:\.git)?/?$", url)
    return f"{found[1]}/edit/{branch}/{path}" if found else None


def repository(app: Sphinx) -> tuple[str, str]:
    """Address and branch that `_config.yml` names."""
    options = app.config.html_theme_options
    return options.get("repository_url", ""), options.get("repository_branch", "main")


def with_link(body: str, address: str) -> str:
    """A page's HTML with a link in the bar under its title, or in a bar of its own.

    >>> with_link("<h1>A</h1><p>B</p>", "https://c")
    '<h1>A</h1>\\n<p class="run-page"><a href="https://c">Edit this page</a></p><p>B</p>'
    """
    link = f'<a href="{escape(address)}">Edit this page</a>'
    if BAR.search(body):
        return BAR.sub(rf'\1 <span aria-hidden="true">·</span> {link}\2', body, count=1)
    return body.replace("</h1>", f'</h1>\n<p class="run-page">{link}</p>', 1)


def with_module_links(text: str, url: str, branch: str) -> str:
    """The text of an API page with a link under the heading of each module.

    >>> print(with_module_links("## `sampling.loop`", "https://github.com/you/copy", "main"))
    ## `sampling.loop`
    <BLANKLINE>
    [Edit `sampling/loop.py`](https://github.com/you/copy/edit/main/diffinfinite_lite/sampling/loop.py)
    <BLANKLINE>
    """

    def under(heading: re.Match) -> str:
        file = heading[1].replace(".", "/") + ".py"
        address = edit_address(url, branch, f"diffinfinite_lite/{file}")
        return f"{heading[0]}\n\n[Edit `{file}`]({address})\n" if address else heading[0]

    return MODULE.sub(under, text)


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname.startswith("api_"):
        source[0] = with_module_links(source[0], *repository(app))


def _page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    source = Path(app.srcdir) / f"{pagename}.md"
    address = edit_address(*repository(app), f"book/{pagename}.md")
    if address and context.get("body") and source.exists():
        context["body"] = with_link(context["body"], address)


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("source-read", _read, priority=600)  # after `reference` has written the headings
    app.connect("html-page-context", _page, priority=650)  # after the bar of `notebooks`
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
