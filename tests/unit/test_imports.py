"""Imports point one way: a room imports only from the rooms before it, and a module from no circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pixelrnn

ROOMS = [
    "errors",
    "files",
    "fields",
    "checks",
    "canvas",
    "heads",
    "layers",
    "networks",
    "exact",
    "program",
    "codec",
    "sampling",
    "data",
    "model",
    "measure",
    "report",
    "web",
    "training",
    "demo",
    "cli",
]  # in this order: none imports from one that follows
ROOT = Path(pixelrnn.__file__).parent


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of every module in a room; the root's own `__init__` and `__main__` may import from anywhere."""
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if name not in ("__init__", "__main__"):
            yield name, path


def imported(path: Path) -> Iterator[str]:
    """What a module imports from the package, wherever it does: in functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        yield from (name.removeprefix("pixelrnn.") for name in names if name.startswith("pixelrnn."))


def wrong_ways(root: Path) -> list[str]:
    """Every import from a room that follows."""
    wrong = []
    for name, path in modules(root):
        room = name.split(".")[0]
        if room == "presets":
            continue  # data files
        assert room in ROOMS, f"{name} is in no room: add it to the list"
        for other in imported(path):
            target = other.split(".")[0]
            if target in ROOMS and ROOMS.index(target) > ROOMS.index(room):
                wrong.append(f"{name} imports {other}")
    return wrong


def circles(root: Path) -> list[str]:
    """Modules that import each other, one way round or another, apart from packages' own `__init__`."""
    known = dict(modules(root))
    targets = {
        name: {other for other in imported(path) if other in known and known[other].name != "__init__.py"} - {name}
        for name, path in known.items()
        if path.name != "__init__.py"
    }
    reached = {name: set(others) for name, others in targets.items()}
    for _ in reached:
        for name, others in reached.items():
            reached[name] = others | {far for other in others for far in reached.get(other, ())}
    return [name for name, others in reached.items() if name in others]


def test_imports_point_one_way() -> None:
    assert wrong_ways(ROOT) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(ROOT) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from pixelrnn.cli.common import bar", ["canvas.a imports pixelrnn.cli.common"]),
        ("def late():\n    import pixelrnn.model.pixel_model", ["canvas.a imports pixelrnn.model.pixel_model"]),
        ("from pixelrnn.errors import ConfigError", []),
    ],
)
def test_a_wrong_way_would_be_found(tmp_path: Path, line: str, found: list[str]) -> None:
    (tmp_path / "canvas").mkdir()
    (tmp_path / "canvas" / "a.py").write_text(line)
    assert [each.replace("imports ", "imports pixelrnn.") for each in wrong_ways(tmp_path)][:1] == found


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / "data" / f"{name}.py").write_text(f"from pixelrnn.data.{other} import x")
    assert circles(tmp_path) == ["data.a", "data.b", "data.c"]
