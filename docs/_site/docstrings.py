"""Docstrings of this package as reStructuredText, for autodoc.

They are written to be read in a terminal:

    Arguments:
        name   what it is, maybe
               on several lines
    Shapes:    (B, C, H, W) -> (B,)

A section becomes a bold word with a list of its entries, or its text; indented lines become literal blocks; doctests
stay.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from sphinx.application import Sphinx

SECTION = re.compile(r"(?P<title>[A-Z][a-z]+):(?:\s+(?P<text>\S.*))?$")
ENTRY = re.compile(r"(?P<name>\S+(?:, \S+)*)\s{2,}(?P<text>\S.*)$")


def escaped(text: str) -> str:
    """The text with what reStructuredText would take for markup escaped, but for `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", part) for part in parts)


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """The lines in blocks: each begins at the margin and has the indented lines below it; blank lines part blocks."""
    block: list[str] = []
    for line in lines:
        if block and (not line.strip() or (line[0] != " " and SECTION.match(line))):
            yield block
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield block


def entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Names and texts of a section's entries; a line that begins no entry goes on with the one before it."""
    name, text = "", ""
    for line in textwrap.dedent("\n".join(lines)).splitlines():
        if line[0] != " " and (entry := ENTRY.match(line)):
            if text:
                yield name, text
            name, text = entry["name"], entry["text"]
        else:
            text = f"{text} {line.strip()}".strip()
    if text:
        yield name, text


def section(title: str, text: str | None, lines: list[str]) -> list[str]:
    if text:
        return [f"**{title}:** {escaped(' '.join([text, *(line.strip() for line in lines)]))}", ""]
    listed = [f"* ``{name}``: {escaped(text)}" if name else f"* {escaped(text)}" for name, text in entries(lines)]
    return [f"**{title}:**", "", *listed, ""]


def converted(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText."""
    out: list[str] = []
    for block in blocks(lines):
        found = SECTION.match(block[0])
        if found and (found["text"] or len(block) > 1):
            out += section(found["title"], found["text"], block[1:])
        elif block[0].startswith(">>>"):
            out += [*block, ""]
        elif block[0].startswith(" "):
            out += ["::", "", *block, ""]
        elif any(line.startswith(" ") for line in block):
            out += [*(f"| {escaped(line)}" for line in block), ""]
        else:
            out += [*(escaped(line) for line in block), ""]
    return out


def process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = converted(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
