"""A table of texts that can be printed, as Markdown and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """A table that can be printed: title, column heads, rows of texts, and sentences on what compares."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str

    def markdown(self) -> str:
        """As Markdown.

        >>> print(Table("T", ["a", "b"], [["1", "2"]], "n").markdown())
        ### T
        <BLANKLINE>
        | a | b |
        |---|---|
        | 1 | 2 |
        <BLANKLINE>
        n
        <BLANKLINE>
        """
        lines = [_line(self.columns), "|" + "---|" * len(self.columns), *map(_line, self.rows)]
        return f"### {self.title}\n\n" + "\n".join(lines) + f"\n\n{self.note}\n"

    def html(self) -> str:
        """As an HTML fragment, of the class that notebooks and their pages know as a table of numbers.

        >>> Table("T", ["a"], [["<1"]], "n").html()
        '<table class="dataframe"><caption>T</caption><thead><tr><th scope="col">a</th></tr></thead><tbody><tr><th
        scope="row">&lt;1</th></tr></tbody></table><p>n</p>'
        """
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.columns)
        body = "".join(
            f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
            for first, *rest in ([escape(c).replace(" ± ", "&nbsp;±&nbsp;") for c in row] for row in self.rows)
        )
        return (
            f'<table class="dataframe"><caption>{escape(self.title)}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table><p>{escape(self.note)}</p>"
        )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
