"""Sphinx extension: questions with choices that a page marks by itself, and questions to think about.

    ```{quiz} tour-unknown
    A region of the mask has label 0. What did the annotator say about it?

    - [ ] It is background.

      Background is *air*, where somebody labelled it.
    - [x] Nothing.

    Unknown means that nothing was said.
    ```

The argument names the question, once in the whole book. The list holds the choices, ``[x]`` the right ones (several:
boxes to tick); a paragraph inside a choice says what is wrong with it. Text after the list is the explanation, which
may be missing where every wrong choice has its paragraph. Without a list, the text before a line ``---`` is the
question and the text after it the answer. With the option ``:look:`` it is the one question of the chapter that *Look*
shows (`reading.py`); its answer unfolds when a choice has been checked, and not before.

The page is a form with the answer in a ``<details>``, readable without JavaScript; ``_static/quiz.js`` marks the
choices and keeps them in the browser. ``{quiz-answers}`` lists the right answers of all chapters, for instructors.
"""

from __future__ import annotations

from html import escape
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from diffinfinite_lite.widgets.pictures import check_name


class quiz(nodes.General, nodes.Element):
    """One question: a `quiz_question`, `quiz_option` for each choice, a `quiz_answer`."""


class quiz_question(nodes.General, nodes.Element):
    """The question; its first paragraph, without the paragraph, is the legend of the choices."""


class quiz_legend(nodes.General, nodes.TextElement):
    """First paragraph of the question."""


class quiz_option(nodes.General, nodes.Element):
    """A choice: a `quiz_label` and, maybe, a `quiz_why`."""


class quiz_label(nodes.General, nodes.TextElement):
    """What the choice says."""


class quiz_why(nodes.General, nodes.Element):
    """Why somebody might have chosen it, and why not."""


class quiz_answer(nodes.General, nodes.Element):
    """Right choices and explanation, to unfold."""


class quiz_answers(nodes.General, nodes.Element):
    """Where the answers of the whole book will stand."""


def _mark(item: nodes.list_item) -> bool | None:
    """Whether a list item is a right choice; None where it is not a choice.

    The parser of task lists (an extension that Jupyter Book switches on) has made a box of the mark.
    """
    if "task-list-item" not in item["classes"]:
        return None
    return "checked=" in item[0][0].astext()


def split(children: list[nodes.Node]) -> tuple[list[nodes.Node], list[nodes.list_item], list[nodes.Node]]:
    """Question, choices and explanation of a directive's parsed content.

    Raises
    ------
    ValueError : no question, neither a list of choices nor a line ``---``, no right or no wrong choice, no explanation.
    """
    for number, child in enumerate(children):
        if isinstance(child, nodes.bullet_list) and any(_mark(item) is not None for item in child):
            marks = [_mark(item) for item in child]
            if None in marks or len(set(marks)) != 2:
                raise ValueError("expected every choice to begin with [ ] or [x] and at least one of each")
            parts = children[:number], list(child), children[number + 1 :]
            break
        if isinstance(child, nodes.transition):
            parts = children[:number], [], children[number + 1 :]
            break
    else:
        raise ValueError("expected a list of choices, - [ ] and - [x], or a line --- before the answer, got neither")
    reasons = parts[1] and all(len(item.children) > 1 for item in parts[1] if not _mark(item))
    if not parts[0] or not isinstance(parts[0][0], nodes.paragraph):
        raise ValueError("expected a question before the answer, got none")
    if not parts[2] and not reasons:
        raise ValueError("expected an explanation after the choices or in every wrong one, got neither")
    return parts


class Quiz(SphinxDirective):
    """``{quiz} name``: see the module."""

    has_content = True
    required_arguments = 1
    option_spec: ClassVar = {"look": directives.flag}

    def run(self) -> list[nodes.Node]:
        known = self.env.__dict__.setdefault("diffinfinite_quizzes", {})
        name = self.arguments[0]
        try:
            check_name(name)
        except ValueError as error:
            raise self.error(str(error)) from error
        if name in self._names() or known.get(name, {}).get("docname", self.env.docname) != self.env.docname:
            raise self.error(f"expected a name that no other question has, got {name!r}")
        try:
            question, choices, rest = split(self._parsed())
        except ValueError as error:
            raise self.error(f"question {name}: {error}") from error
        self._names().append(name)
        number = len(self._names())
        answer = quiz_answer("", *self._right(choices), *rest)
        node = quiz("", name=name, number=number, ids=[f"quiz-{name}"], classes=["quiz"])
        node["look"] = "look" in self.options
        node["many"] = sum(bool(_mark(item)) for item in choices) > 1
        legend = quiz_legend("", "", nodes.inline("", f"{number}. ", classes=["quiz-number"]), *question[0].children)
        node += quiz_question("", legend, *question[1:])
        for item in choices:
            node += self._option(item, name, len(node), node["many"])
        node += answer
        self.set_source_info(node)
        known[name] = {
            "docname": self.env.docname,
            "number": number,
            "question": legend.deepcopy(),
            "answer": [child.deepcopy() for child in answer],
        }
        return [node]

    def _names(self) -> list[str]:
        return self.env.temp_data.setdefault("diffinfinite_quiz_names", [])

    def _parsed(self) -> list[nodes.Node]:
        """Content as nodes; the line ``---`` splits it before parsing, since a heading could be made of it."""
        lines = [line.strip() for line in self.content]
        if "---" not in lines:
            return self._parse(self.content, self.content_offset)
        at = lines.index("---")
        return [
            *self._parse(self.content[:at], self.content_offset),
            nodes.transition(),
            *self._parse(self.content[at + 1 :], self.content_offset + at + 1),
        ]

    def _parse(self, content: StringList, offset: int) -> list[nodes.Node]:
        holder = nodes.container()
        self.state.nested_parse(content, offset, holder)
        return holder.children

    @staticmethod
    def _text(item: nodes.list_item) -> list[nodes.Node]:
        """What a choice says, without its mark."""
        _, first, *rest = (child.deepcopy() for child in item[0])
        return [nodes.Text(first.astext().lstrip()) if isinstance(first, nodes.Text) else first, *rest]

    def _right(self, choices: list[nodes.list_item]) -> list[nodes.Node]:
        """The right choices, with what is said in them."""
        out: list[nodes.Node] = []
        for item in choices:
            if _mark(item):
                out.append(nodes.paragraph("", "", nodes.strong("", "", *self._text(item))))
                out += [child.deepcopy() for child in item.children[1:]]
        return out

    def _option(self, item: nodes.list_item, name: str, place: int, many: bool) -> quiz_option:
        option = quiz_option("", right=bool(_mark(item)), field=f"quiz-{name}", place=place, many=many)
        option += quiz_label("", "", *self._text(item), field=f"quiz-{name}-{place}")
        if len(item.children) > 1:
            option += quiz_why("", *item.children[1:])
        return option


class QuizAnswers(SphinxDirective):
    """``{quiz-answers}``: the right answers of all chapters."""

    def run(self) -> list[nodes.Node]:
        return [quiz_answers()]


class FillAnswers(SphinxPostTransform):
    """Puts questions and answers where ``{quiz-answers}`` stands, chapter by chapter."""

    default_priority = 5  # before references are resolved

    def run(self, **kwargs: object) -> None:
        for place in list(self.document.findall(quiz_answers)):
            entries = sorted(
                getattr(self.env, "diffinfinite_quizzes", {}).items(),
                key=lambda entry: (entry[1]["docname"], entry[1]["number"]),
            )
            out: list[nodes.Node] = []
            for docname in sorted({entry["docname"] for _, entry in entries}):
                title = self.env.titles[docname].astext()
                out.append(nodes.rubric("", title))
                for name, entry in entries:
                    if entry["docname"] == docname:
                        out += self._entry(name, entry)
            place.replace_self(out)

    def _entry(self, name: str, entry: dict) -> list[nodes.Node]:
        address = self.app.builder.get_relative_uri(self.env.docname, entry["docname"]) + f"#quiz-{name}"
        question = nodes.paragraph()
        question += nodes.reference("", "", *_within_link(entry["question"]), refuri=address, internal=True)
        answer = nodes.block_quote("", *(child.deepcopy() for child in entry["answer"]))
        return [question, answer]


def _within_link(question: nodes.Node) -> list[nodes.Node]:
    """Copies of what stands in a question, formulas included; its own links become text, since links do not nest."""
    copy = question.deepcopy()
    for link in list(copy.findall(lambda node: isinstance(node, addnodes.pending_xref | nodes.reference))):
        link.replace_self(nodes.Text(link.astext()))
    return copy.children


def _forget(app: Sphinx, env, docname: str) -> None:
    known = getattr(env, "diffinfinite_quizzes", {})
    for name in [name for name, entry in known.items() if entry["docname"] == docname]:
        del known[name]


def _merge(app: Sphinx, env, docnames: set[str], other) -> None:
    known = env.__dict__.setdefault("diffinfinite_quizzes", {})
    known |= {
        name: entry
        for name, entry in getattr(other, "diffinfinite_quizzes", {}).items()
        if entry["docname"] in docnames
    }


def _open_quiz(writer, node: quiz) -> None:
    choices = any(isinstance(child, quiz_option) for child in node)
    kind = "choice" if choices else "reveal"
    look = " look" if node["look"] else ""
    writer.body.append(
        f'<form class="quiz{look}" id="{node["ids"][0]}" data-quiz="{escape(node["name"])}" '
        f'data-kind="{kind}" data-many="{"yes" if node["many"] else "no"}">\n<fieldset>\n'
    )


def _close_quiz(writer, node: quiz) -> None:
    writer.body.append("</form>\n")


def _open_option(writer, node: quiz_option) -> None:
    kind = "checkbox" if node["many"] else "radio"
    right = "yes" if node["right"] else "no"
    label = node[0]
    named = f' aria-label="{escape(label.astext())}"' if any(label.findall(nodes.math)) else ""  # typeset: no text left
    writer.body.append(
        f'<div class="quiz-option" data-right="{right}"><input type="{kind}" name="{node["field"]}" '
        f'id="{node["field"]}-{node["place"]}" value="{node["place"]}" autocomplete="off"{named}>'
    )


def _open_answer(writer, node: quiz_answer) -> None:
    writer.body.append('</fieldset>\n<details class="quiz-answer"><summary>Answer</summary>\n<div>\n')


def _tag(opening: str, closing: str):
    def visit(writer, node) -> None:
        writer.body.append(opening.format(**node.attributes))

    def depart(writer, node) -> None:
        writer.body.append(closing)

    return visit, depart


def _nothing(writer, node) -> None:
    """Other builders show the children."""


def setup(app: Sphinx) -> dict[str, object]:
    html = {
        quiz: (_open_quiz, _close_quiz),
        quiz_question: (_nothing, _nothing),
        quiz_legend: _tag("<legend>", "</legend>\n"),
        quiz_option: (_open_option, lambda writer, node: writer.body.append("</div>\n")),
        quiz_label: _tag('<label for="{field}">', "</label>"),
        quiz_why: _tag('<div class="quiz-why" hidden>', "</div>"),
        quiz_answer: (_open_answer, lambda writer, node: writer.body.append("</div>\n</details>\n")),
        quiz_answers: (_nothing, _nothing),
    }
    for node, visitors in html.items():
        app.add_node(node, html=visitors, latex=(_nothing, _nothing), text=(_nothing, _nothing))
    app.add_directive("quiz", Quiz)
    app.add_directive("quiz-answers", QuizAnswers)
    app.add_post_transform(FillAnswers)
    app.connect("env-purge-doc", _forget)
    app.connect("env-merge-info", _merge)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
