"""The code blocks of the README and of the pages, in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in sorted(ROOT.glob("docs/*.md")))]
PROGRAMS = {"pixelrnn", "python", "pip", "pipx", "uvx", "make", "torchrun", "srun"}


class Block(NamedTuple):
    """What a block is (python, toml, command) and its text; a command is one line, without its comment."""

    kind: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    found = []
    for token in MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8")):
        line = (token.map or [0])[0] + 1
        if token.type == "fence" and token.info in ("python", "toml"):
            found.append(Block(token.info, token.content, line))
        elif token.type == "code_block" or (token.type == "fence" and not token.info):
            text = re.sub(r"^\$ ", "", token.content.replace("\\\n", " "), flags=re.MULTILINE)
            found += [Block("command", each, line) for each in text.splitlines() if first_word(each) in PROGRAMS]
    return found


def first_word(line: str) -> str:
    return line.split(" ", 1)[0]


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)
