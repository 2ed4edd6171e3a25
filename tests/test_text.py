"""Names of files may hold anything; they are printed as they are, and can be pasted."""

import io
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import revgan
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


OWN = {"ALL", "UNET", "config.folds", "kind.preset", "other.preset", "generator.directions[0]"}
"""What commands in sentences may hold besides quoted words: these have no odd characters."""

NO_COMMANDS = {"--device {device} here", "--table {path} must", "--output {path} must"}
NO_COMMANDS |= {"--variants {name} needs", "--help {ALL} lists", "revgan reads {FORMAT_VERSION}"}
NO_COMMANDS |= {"revgan translate {name} INPUT"}  # a name on the hub


def test_what_sentences_tell_to_type_is_quoted():
    place = Path(revgan.__file__).parent
    told = re.compile(r"(?:--[a-z_.-]+|revgan [a-z]+) \{([^}]*)\} ?\w*")
    odd = [
        f"{path.relative_to(place)}: {found[0]}"
        for path in place.rglob("*.py")
        for found in told.finditer(path.read_text())
        if "shell_word" not in found[1] and found[1] not in OWN and found[0] not in NO_COMMANDS
    ]
    assert odd == []


def test_a_path_that_looks_like_an_option_is_put_otherwise():
    assert shell_word(Path("-x")) == "./-x"
    assert shell_word("-x") == "-x"


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
