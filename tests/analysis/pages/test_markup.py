"""What is put into a page is neither its markup nor a command to the terminal."""

from pathlib import Path

import pytest

from analysis.pages.markup import Form, _prose, as_latex, as_markdown, environment
from bench.output.paragraphs import lines, table
from study.errors import escaped
from study.text_table import text_table

FORMS: tuple[Form, ...] = ("html", "txt")
ODD = "<b>\x1b[31m|\n`=$x^{"


def test_a_value_on_a_markdown_page_is_no_html_and_no_escape_code() -> None:
    text = as_markdown(ODD)
    assert "&lt;b&gt;" in text
    assert text.isprintable()


@pytest.mark.parametrize("note", ["run `a <b>` now", "a backtick ` in <b>", "`<i>` and ` <b>\x1b[0m"])
def test_in_a_sentence_only_what_is_between_two_backticks_is_as_it_stands(note: str) -> None:
    text = _prose(note)
    for n, part in enumerate(text.replace("\\`", "").split("`")):
        assert n % 2 or "<" not in part, text
    assert text.isprintable()


def test_a_name_in_a_page_or_a_text_has_no_escape_code() -> None:
    for form in FORMS:
        page = environment(form).from_string("{{ name }}\n{{ path }}\n")
        text = page.render(name=ODD, path=Path(ODD))
        assert text.count("\\x1b") == 2
        assert text.replace("\n", "").isprintable()


def test_tables_of_the_commands_are_printable() -> None:
    assert text_table(["name"], [[ODD]], [True]).replace("\n", "").isprintable()
    for markdown in (False, True):
        for text in (table(["name"], [[ODD]], "l", markdown), lines([ODD], markdown)):
            assert text.replace("\n", "").isprintable()
            assert not (markdown and "<b>" in text)


def test_an_escape_is_that_of_python() -> None:
    assert escaped("a\x1b\u202e\udcff\n'ä") == "a\\x1b\\u202e\\udcff\\n'ä"
    assert as_latex("\x1b") == r"\textbackslash{}x1b"
