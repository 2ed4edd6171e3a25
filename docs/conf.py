"""Sphinx configuration of the documentation, which `make docs` builds into build/docs."""

import io
import re
from contextlib import redirect_stdout, suppress

from docutils import nodes
from docutils.parsers.rst import Directive

import revgan
from revgan.cli import main

project = "revgan"
author = "the authors of revgan"
version = release = revgan.__version__
html_title = f"revgan {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["images"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_show_copyright = False
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}


class HelpText(Directive):
    """The output of ``revgan COMMAND --help``: the options as they are, not as they once were."""

    required_arguments = 1
    optional_arguments = 9

    def run(self):
        output = io.StringIO()
        with redirect_stdout(output), suppress(SystemExit):
            main([*self.arguments, "--help"])
        return [nodes.literal_block(output.getvalue(), output.getvalue(), language="text")]


def without_links_outside(app, page, source):
    """Pages link to the repository's other files, which the site doesn't have: it names them."""
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", _named, source[0])


def _named(link):
    text, path = link.groups()
    inside = not path.startswith(("benchmarks/", "tests/", "src/"))
    return link[0] if inside else f"{text} (`{path}` in the repository)"


def as_restructured_text(app, what, name, thing, options, lines):
    """Docstrings write code in single backticks, and shapes such as (B, C, *spatial)."""
    for number, line in enumerate(lines):
        parts = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line).split("``")
        parts[::2] = [re.sub(r"(?<![\w*])(\*{1,2})(?=\w)", r"\\\1", part) for part in parts[::2]]
        lines[number] = "``".join(parts)


def setup(app):
    """Registers the above."""
    app.add_directive("revgan-help", HelpText)
    app.connect("source-read", without_links_outside)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
