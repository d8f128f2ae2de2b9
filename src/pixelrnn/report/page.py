"""A self-contained HTML page: facts, a table of likelihoods, pictures."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .25rem .9rem .25rem 0; text-align: left; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; }} tr.best td {{ font-weight: 600; }}
.bar {{ display: block; height: .6rem; background: #2e4057; }} tr.best .bar {{ background: #d1495b; }}
img {{ max-width: 100%; image-rendering: pixelated; }} h2 {{ margin-top: 2rem; }}
</style></head><body>
<h1>{title}</h1>
<table>{facts}</table>
<h2>Likelihood of held-out images</h2>
<p>The model gives every image an exact probability. Fewer nats and bits are better; PNG and WebP encode the same
images as one sheet, without loss.</p>
<table><tr><th>method</th><th>nats/image</th><th>bits/dim</th><th></th></tr>{rows}</table>
{pictures}
</body></html>
"""


def page(
    title: str,
    facts: list[tuple[str, str]],
    rows: list[tuple[str, float, float]],
    pictures: list[tuple[str, str, str]],
    folder: Path,
) -> str:
    """The HTML of the page, with the pictures embedded in it, so that it is a single file.

    Arguments:
        facts     (name, value) of each row of the first table
        rows      (method, nats per image, bits per dimension), the model last
        pictures  (heading, file name in `folder`, caption)
    """
    most = max(bits for _, _, bits in rows)
    return _PAGE.format(
        title=escape(title),
        facts="".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts),
        rows="".join(_row(row, most, best=row == rows[-1]) for row in rows),
        pictures="".join(_picture(heading, folder / file, caption) for heading, file, caption in pictures),
    )


def _row(row: tuple[str, float, float], most: float, best: bool) -> str:
    name, nats, bits = row
    return (
        f'<tr{" class=best" if best else ""}><td>{escape(name)}</td><td class="number">{nats:.2f}</td>'
        f'<td class="number">{bits:.3f}</td>'
        f'<td><span class="bar" style="width:{12 * bits / most:.2f}rem"></span></td></tr>'
    )


def _picture(heading: str, path: Path, caption: str) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<h2>{escape(heading)}</h2><p>{escape(caption)}</p><img alt="{escape(heading)}" '
        f'src="data:image/png;base64,{content}">'
    )
