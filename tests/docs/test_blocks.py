"""Every code block of the README and of the site runs: programs as they are, commands with trainings cut short."""

from __future__ import annotations

import io
import re
import sys
import tokenize
from pathlib import Path
from typing import Any

import pytest
import typer
from blocks import PAGES, ROOT, blocks, words

from pixelrnn.cli import app, main
from pixelrnn.errors import ConfigError
from pixelrnn.training.presets import load_preset

# Commands that are only parsed: they take minutes, never end, or need several devices or machines.
LONG = {"demo", "serve"}
ELSEWHERE = {"--devices", "--nodes", "--processes"}
MEASUREMENTS = {"docs/results.md", "docs/heirs.md", "docs/gallery.md"}  # trainings of an hour; all networks
TRANSLATION = "README.zh-CN.md"
SHORTER = {r"-n \d+": "-n 1", "RUN": "demo/run", "PRESET": "digits", "--label NAME": "--label KIND"}
PARSER = typer.main.get_command(app)
COMMANDS: dict[str, Any] = vars(PARSER)["commands"]


def shortened(text: str) -> list[str]:
    for what, instead in SHORTER.items():
        text = re.sub(rf"(?<![\w/-]){what}(?!\w)", instead, text)
    return words(text)


def parse(arguments: list[str]) -> None:
    """Take a command apart as the command line does, with the settings of a training, and do nothing."""
    name, *rest = arguments
    with COMMANDS[name].make_context(name, list(rest)) as context:
        if name == "train":
            load_preset(context.params["preset"], context.params["changes"])


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if arguments[0] == "train":
        arguments = [*arguments, "--max-minutes", "0.0001", "--overwrite"]
    monkeypatch.setattr(sys, "argv", ["pixelrnn", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def check_program(arguments: list[str]) -> None:
    """A program of this repository is there, and has the options that it is called with."""
    if arguments[0] == "-c":
        exec(compile(arguments[1], "-c", "exec"), {})
        return
    source = (ROOT / arguments[0]).read_text(encoding="utf-8") + (ROOT / "benchmarks" / "common.py").read_text()
    for option in re.findall(r"--[\w-]+", " ".join(arguments)):
        assert f'"{option}"' in source, f"{arguments[0]} has no option {option}"


def check_command(page: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    program, *rest = arguments
    if program == "pixelrnn":
        if rest[0] in LONG or ELSEWHERE & set(rest) or page in MEASUREMENTS:
            parse(rest)
        else:
            run(rest, monkeypatch)
    elif program == "python":
        check_program(rest)
    elif program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {rest[0]}"
    elif "pixelrnn" in rest:  # torchrun, srun, uvx: what they start
        parse(rest[rest.index("pixelrnn") + 1 :])
    else:
        assert program in ("pip", "pipx"), f"nobody checks {program}"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page) and page != TRANSLATION])
def test_the_code_of_a_page_runs(page: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    for block in blocks(page):
        try:
            if block.kind == "python":
                exec(compile(block.text, f"{page}, line {block.line}", "exec"), names)
            elif block.kind == "toml":
                (world / "mine.toml").write_text(block.text)
            else:
                check_command(page, shortened(block.text), monkeypatch)
        except BaseException as error:
            raise AssertionError(f"{page}, line {block.line}: {block.text}") from error


def test_the_translated_readme_has_the_same_code() -> None:
    here, there = ([(kind, code(kind, text)) for kind, text, _ in blocks(page)] for page in ("README.md", TRANSLATION))
    assert here == there


def code(kind: str, text: str) -> list[str]:
    """Without comments, which are translated."""
    if kind == "command":
        return words(text)
    return [
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type != tokenize.COMMENT
    ]


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_the_text_have_the_options_they_are_named_with(page: str) -> None:
    for command in re.findall(r"`pixelrnn ([^`]+)`", (ROOT / page).read_text(encoding="utf-8")):
        name, *rest = command.split()
        options = {each for parameter in COMMANDS[name].params for each in parameter.opts} if name[0] != "-" else set()
        assert {word for word in rest if re.match(r"-[a-z-]", word)} <= {*options, "--help"}, command


def test_blocks_are_found() -> None:
    """In indented and in fenced blocks, without their comments."""
    found = [(kind, words(text) if kind == "command" else text) for kind, text, _ in blocks("docs/training.md")]
    assert ("command", ["make", "soak"]) in found
    assert {kind for kind, _ in found} == {"command", "python", "toml"}


def test_a_wrong_command_is_noticed() -> None:
    parse(shortened("pixelrnn train mnist-gated --out runs/x --set layers=3   # fine")[1:])
    for wrong in ("pixelrnn train mnist-gatd --out runs/x", "pixelrnn train mnist-gated --set widht=3 --out runs/x"):
        with pytest.raises(ConfigError):
            parse(shortened(wrong)[1:])
    with pytest.raises(AssertionError, match="no option --speed"):
        check_program(["benchmarks/codec.py", "--speed", "3"])
