"""Names of files may hold anything; they are printed as they are, and can be pasted."""

import io
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revgan.errors import visible
from revgan.text import PlainConsole, csv_cell, markdown, shell_word

ODD = ["mri[t1]", "a[/bold]", "x:heart:y", "a b", "it's", "$HOME", "`id`", "new\nline", "\x1b[31m"]
ODD += ["r\udcff", "é", "-x", "a\\b", "\t", ""]


@pytest.mark.parametrize("name", ["mri[t1]", "a[/bold]", "x:heart:y", "[red]", "é"])
def test_the_console_shows_names_as_they_are(name):
    output = io.StringIO()
    PlainConsole(file=output, width=200).print(f"Wrote {name}", soft_wrap=True)
    assert output.getvalue() == f"Wrote {name}\n"


def test_the_console_prints_no_control_characters():
    output = io.StringIO()
    PlainConsole(file=output, width=200).print("\x1b]0;x\x07 \x9b1m \u202e")
    assert output.getvalue() == "\\x1b]0;x\\x07 \\x9b1m \\u202e\n"


def test_what_is_visible_is_one_line_that_utf8_can_hold():
    assert visible("a\nb\r\x1b\udcffé") == "a\\nb\\r\\x1b\\udcffé"


@settings(max_examples=20)
@given(st.lists(st.binary(max_size=8).filter(lambda name: b"\0" not in name), max_size=4))
def test_words_of_a_command_can_be_pasted(names):
    words = [os.fsdecode(name) for name in [*names, *map(os.fsencode, ODD)]]
    command = " ".join(["printf '%s\\0'", *map(shell_word, words)])
    assert command.isprintable()
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "=\n1"])
def test_spreadsheets_take_no_name_for_a_formula(name):
    assert csv_cell(name) == f"'{visible(name)}"
    assert csv_cell(f"a{name}") == f"a{visible(name)}"


def test_markdown_shows_names_as_they_are():
    odd = "<b>|[a](http://x)*_`~$\n\\"
    assert markdown(odd) == (r"\<b\>\|\[a\](http://x)\*\_\`\~\$\\n\\")
