"""The directive `command`: a command of pixelrnn and what it prints, computed when the site is built."""

from __future__ import annotations

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from typer.testing import CliRunner

from pixelrnn.cli import app as program

WIDTH = "100"


class Command(Directive):
    """`{command} list networks` shows `pixelrnn list networks`."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        arguments = self.arguments[0].split()
        result = CliRunner().invoke(program, arguments, env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH})
        if result.exit_code:
            raise self.error(f"pixelrnn {self.arguments[0]} ended with status {result.exit_code}: {result.output}")
        text = f"$ pixelrnn {self.arguments[0]}\n{result.output.rstrip()}"
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command", Command)
    return {"parallel_read_safe": True}
