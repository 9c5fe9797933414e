"""A lesson as one HTML page that needs nothing else: no network, no script, pictures inside, formulas as MathML."""

from __future__ import annotations

import base64
import html
import mimetypes
import os
import re
from pathlib import Path
from typing import Any

from labkit import mermaid, tex
from labkit.show import FORMULA, Page, outside_code

CSS = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5a6470; --page: #fdfcfa; --box: #f3f1ec; --line: #dcd8cf;
  --link: #1f5fa8; --mark: #2f6f4f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e2dd; --soft: #a3a9b1; --page: #17191c; --box: #212429;
  --line: #363b42; --link: #86b7ef; --mark: #7cc3a0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 17px/1.6 Charter, "Bitstream Charter", "Iowan Old Style",
  "Source Serif 4", Georgia, "DejaVu Serif", serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1, h2, h3, h4, th, summary, .diagram { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.2rem; }
h2 { font-size: 1.35rem; margin: 2.8rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
a { color: var(--link); text-underline-offset: .15em; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-size: .86em; background: var(--box); padding: .1em .3em; border-radius: 4px; }
pre { font-size: .8rem; line-height: 1.5; background: var(--box); border: 1px solid var(--line); border-radius: 8px;
  padding: .9rem 1rem; overflow-x: auto; }
pre code { font-size: inherit; background: none; padding: 0; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; }
th, td { padding: .4rem .8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom: 2px solid var(--line); font-size: .82rem; }
tr > :first-child { padding-left: 0; }
td, th { font-variant-numeric: tabular-nums; }
blockquote { margin: 1.2rem 0; padding: .1rem 1.1rem; border-left: 3px solid var(--mark); color: var(--soft); }
details { margin: 1.2rem 0; padding: .2rem 1rem; border: 1px solid var(--line); border-radius: 8px; }
summary { cursor: pointer; font-weight: 600; font-size: .95rem; padding: .35rem 0; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
math[display="block"] { margin: 1.2rem 0; overflow-x: auto; }
.diagram { margin: 1.4rem 0; font-size: .84rem; line-height: 1.35; }
.diagram div { display: flex; flex-wrap: wrap; align-items: center; gap: .45rem; margin: .5rem 0; }
.diagram span { display: inline-flex; align-items: center; gap: .45rem; }
.diagram b { font-weight: 500; padding: .35rem .7rem; border: 1px solid var(--mark); border-radius: 8px; background: var(--box);
  max-width: 15rem; }
.diagram i { font-style: normal; color: var(--soft); }
.missing { color: var(--soft); font-style: italic; }
@media print { :root { --ink: #000; --soft: #444; --page: #fff; --box: #f6f6f6; --line: #bbb; --link: #000; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; } pre { white-space: pre-wrap; font-size: 8pt; }
  pre, table, img, .diagram, details { break-inside: avoid; } h2, h3 { break-after: avoid; }
  a[href^="http"]::after { content: " (" attr(href) ")"; font-size: .8em; } }
"""


def write(page: Page, folder: Path, answers: bool = False) -> Path:
    """Writes ID.html there, with each page that its links lead to, and theirs, unless it is there and up to date."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{page.id}{'-answers' if answers else ''}.html"
    path.write_text(html_page(page, folder, answers), encoding="utf-8")
    seen, ahead = {page.id}, linked(page)
    if answers:
        seen.clear()  # a lesson that leads back here leads to the page without the answers
    while ahead:
        other = ahead.pop()
        if other.id not in seen:
            seen.add(other.id)
            ahead += linked(other)
            there = folder / f"{other.id}.html"
            if not there.exists() or there.stat().st_mtime <= _changed(other):
                there.write_text(html_page(other, folder), encoding="utf-8")
    return path


def linked(page: Page) -> list[Page]:
    """The lessons, phase pages and guides that this page has links to."""
    found: list[Page] = []
    for block in _parser(page, Path()).parse(_prepared(page.text)):
        for token in block.children or ():
            if token.type == "link_open" and (other := page.linked(str(token.attrs.get("href", "")))):
                found.append(other)
    return found


def _changed(page: Page) -> float:
    """When anything that a page is made of was last written: its text, its pictures, this module."""
    parts = [Path(__file__), page.path, *page.path.parent.rglob("*.png"), *page.path.parent.rglob("*.svg")]
    return max(path.stat().st_mtime for path in parts)


def html_page(page: Page, folder: Path, answers: bool = False) -> str:
    """The page as it will stand in `folder`, beside those it leads to; with the answers unfolded if they are wanted."""
    body = _parser(page, folder).render(_prepared(page.text))
    if answers:
        body = body.replace("<details>", "<details open>")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(page.title)}</title>\n<style>{CSS}{_code_css()}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _prepared(text: str) -> str:
    """Markdown inside <details> is Markdown only when empty lines stand around it."""

    def change(stretch: str) -> str:
        stretch = re.sub(r"(<details[^>]*>(?:\s*<summary>.*?</summary>)?)[ \t]*\n?", r"\1\n\n", stretch, flags=re.S)
        return re.sub(r"\n?[ \t]*</details>", "\n\n</details>\n", stretch)

    return outside_code(text, change)


def _parser(page: Page, folder: Path) -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.anchors import anchors_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    parser.use(dollarmath_plugin, allow_labels=False).use(anchors_plugin, max_level=4)
    parser.disable("math_inline")  # that one takes "$5–$10" for a formula
    parser.inline.ruler.before("escape", "formula", _inline_formula)
    renderer: Any = parser.renderer

    def fence(tokens: Any, i: int, options: Any, env: Any) -> str:
        kind = tokens[i].info.strip().split(" ")[0]
        return _block(kind, tokens[i].content)

    def image(tokens: Any, i: int, options: Any, env: Any) -> str:
        return _image(page.path.parent, tokens[i].attrs["src"], tokens[i].content)

    def opened(tokens: Any, i: int, options: Any, env: Any) -> str:
        tokens[i].attrs["href"] = _address(page, str(tokens[i].attrs.get("href", "")), folder)
        return str(renderer.renderToken(tokens, i, options, env))

    rules = renderer.rules
    rules |= {"fence": fence, "image": image, "link_open": opened}
    rules |= {
        "table_open": lambda *_: '<div class="wide"><table>\n',
        "table_close": lambda *_: "</table></div>\n",
        "formula": lambda tokens, i, *_: tex.mathml(tokens[i].content, block=tokens[i].markup == "$$"),
        "math_block": lambda tokens, i, *_: _block("math", tokens[i].content),
    }
    for kind in ("html_block", "html_inline"):
        rules[kind] = lambda tokens, i, *_: _pictures_inside(tokens[i].content, page.path.parent)
    return parser


def _address(page: Page, target: str, folder: Path) -> str:
    """Where a link leads from `folder`: a page of the course to its page there, a file to the file."""
    if other := page.linked(target):
        return f"{other.id}.html{''.join(target.partition('#')[1:])}"
    if re.match(r"[a-z]+:|#", target):
        return target
    return os.path.relpath(page.path.parent / target, folder).replace(os.sep, "/")


def _inline_formula(state: Any, silent: bool) -> bool:
    """A rule of the parser: the same formulas as in the terminal, and no others."""
    found = re.compile(FORMULA, re.S).match(state.src, state.pos)
    if found and not silent:
        token = state.push("formula", "math", 0)
        token.content, token.markup = found["tex"], found["dollars"]
    state.pos = found.end() if found else state.pos
    return bool(found)


def _block(kind: str, text: str) -> str:
    """A code block, a formula or a diagram."""
    if kind == "math":
        return tex.mathml(text.strip(), block=True) + "\n"
    if kind == "mermaid" and (arrows := mermaid.read(text)):
        rows = []
        for chain in mermaid.chains(arrows):
            first, *steps = (html.escape(words.strip()) for words in chain)
            pairs = zip(steps[::2], steps[1::2], strict=True)
            cells = [f"<b>{first}</b>", *(f"<span><i>{arrow}</i><b>{node}</b></span>" for arrow, node in pairs)]
            rows.append(f"<div>{''.join(cells)}</div>")
        return f'<div class="diagram">\n{chr(10).join(rows)}\n</div>\n'
    return f"<pre><code>{_highlighted(kind, text)}</code></pre>\n"


def _highlighted(kind: str, text: str) -> str:
    from pygments import highlight  # type: ignore[import-untyped]
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    try:
        lexer = get_lexer_by_name(kind or "text", stripnl=False)
    except ClassNotFound:
        return html.escape(text)
    return str(highlight(text, lexer, HtmlFormatter(nowrap=True)))


def _code_css() -> str:
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default", nobackground=True).get_style_defs("pre")
    dark = HtmlFormatter(style="github-dark", nobackground=True).get_style_defs("pre")
    rules = [
        [line for line in css.splitlines() if line.startswith("pre .") and "linenos" not in line]
        for css in (light, dark)
    ]
    return "\n".join(rules[0]) + "\n@media (prefers-color-scheme: dark) {\n" + "\n".join(rules[1]) + "\n}\n"


def _image(folder: Path, source: str, words: str) -> str:
    """The picture itself inside the page; one that is not there yet, in words."""
    path = folder / source
    if re.match(r"(?:https?|data):", source):
        return f'<a href="{html.escape(source)}">{html.escape(words or source)}</a>'
    if not path.is_file():
        return f'<span class="missing">picture: {html.escape(source)}, not drawn yet. {html.escape(words)}</span>'
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img src="data:{kind};base64,{data}" alt="{html.escape(words)}">'


def _pictures_inside(text: str, folder: Path) -> str:
    """HTML of the lesson's own, with its <img> pictures in the page."""

    def become(found: re.Match[str]) -> str:
        words = re.search(r"alt=[\"']([^\"']*)", found[0])
        return _image(folder, found[1], words[1] if words else "")

    return re.sub(r"<img\s[^>]*?src=[\"']([^\"']+)[\"'][^>]*>", become, text)
