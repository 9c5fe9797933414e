r"""TeX formulas as readable text, and as MathML.

    >>> text(r"\mathrm{softmax}\Big(\tfrac{QK^\top}{\sqrt d}\Big)V,\quad x_{ij}^2")
    'softmax(QKᵀ/√d)V,  xᵢⱼ²'

Does: fractions, roots, scripts, accents, Greek, operators, text, rows of aligned equations and matrices, as far as a
line of characters can show them.  Does not: lay out in two dimensions.  What it does not know stays as it was written.
"""

from __future__ import annotations

import functools
import re
from typing import Any

SUPER = dict(
    zip("0123456789+-=()abcdefghijklmnoprstuvwxyzTN", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᴺ", strict=True)
) | {"⊤": "ᵀ", "′": "′", "*": "*", "−": "⁻"}
SUB = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)) | {"−": "₋"}
SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits)(?![a-zA-Z])\s*\.?")
WIDE = "\u2003"  # a space that was asked for: it stays two wide, where others run together
SPACES = {r"\,": " ", r"\;": " ", r"\:": " ", r"\ ": " ", r"\!": "", r"\quad": WIDE, r"\qquad": WIDE, "~": " "}
TEXT = re.compile(
    r"\\(?:text|mathrm|operatorname\*?|mathbf|boldsymbol|mathit|mathsf|textbf|textit|mathtt|texttt)\s*(?=\{)"
)
ROWS = re.compile(r"\\(?:begin|end)\{(?:aligned|align\*?|gathered|split|equation\*?)\}")
MATRIX = re.compile(r"\\begin\{([pbvBV]?matrix|cases|array)\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\}", re.S)
FENCES = {
    "pmatrix": ("(", ")"),
    "vmatrix": ("|", "|"),
    "Vmatrix": ("‖", "‖"),
    "Bmatrix": (r"\{", r"\}"),
    "cases": (r"\{ ", ""),
}


def text(tex: str) -> str:
    """A formula, without its dollars, as one line of characters; aligned equations as one line each."""
    tex = ROWS.sub("", SIZES.sub("", tex.strip()))
    tex = MATRIX.sub(_matrix, tex)
    lines = [_tidy(_convert(line.replace("&", ""))) for line in re.split(r"\\\\(?:\[[^\]]*\])?", tex)]
    return (
        "\n".join(line for line in lines if line)
        .translate(OPENED)
        .replace(f" {WIDE}", WIDE)
        .replace(f"{WIDE} ", WIDE)
        .replace(WIDE, "  ")
    )


def mathml(tex: str, block: bool = False) -> str:
    """The formula as a <math> element; as code where it is not understood."""
    import html
    import xml.etree.ElementTree as ET

    from latex2mathml.converter import convert

    try:
        known = ALIGNED.sub(lambda m: r"\begin{array}{rl}" if m[1] == "begin" else r"\end{array}", tex)
        made = str(convert(known, display="block" if block else "inline"))
        ET.fromstring(made)  # what the package does not know may come out as something that is no XML
    except Exception:  # it raises many kinds, and a page must not fail on one formula
        return f"<code>{html.escape(tex)}</code>"
    return made


ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|gathered|split|align\*?)\}")


def _matrix(found: re.Match[str]) -> str:
    kind, inside = found[1], found[2]
    left, right = FENCES.get(kind, ("[", "]"))
    rows = [WIDE.join(cell.strip() for cell in row.split("&")) for row in inside.split(r"\\") if row.strip()]
    return f"{left}{'; '.join(rows)}{right}"


def _convert(tex: str) -> str:
    """Structure by hand (fractions, roots, scripts, groups), single macros by their table."""
    out, i = "", 0
    while i < len(tex):
        rest = tex[i:]
        if fraction := re.match(r"\\([dtc]?frac|binom)(?![a-zA-Z])", rest):
            top, i = _argument(tex, i + fraction.end())
            bottom, i = _argument(tex, i)
            out += (
                f"C({_convert(top)}, {_convert(bottom)})"
                if fraction[1] == "binom"
                else f"{_whole(top, above=True)}/{_whole(bottom)}"
            )
        elif root := re.match(r"\\sqrt(?:\[([^\]]*)\])?(?![a-zA-Z])", rest):
            inside, i = _argument(tex, i + root.end())
            out += f"{_script(root[1], SUPER, '') if root[1] else ''}√{_whole(inside)}"
        elif tex[i] in "^_":
            inside, j = _argument(tex, i + 1)
            out = out.rstrip() if out[-1:] == " " and tex[i - 1 : i] == " " else out
            out, i = out + _script(inside, SUPER if tex[i] == "^" else SUB, tex[i]), j
        elif words := TEXT.match(rest):
            inside, i = _argument(tex, i + words.end())
            out += inside if words[0].startswith(r"\text") else _convert(inside)
        elif tex[i] == "{":
            inside, i = _argument(tex, i)
            out += _convert(inside)
        elif space := next((s for s in sorted(SPACES, key=len, reverse=True) if rest.startswith(s)), None):
            out, i = out + SPACES[space], i + len(space)
        elif tex[i] == "\\":
            name = re.match(r"\\(?:[a-zA-Z]+|.)?", rest, re.S)
            assert name is not None
            i += name.end()
            accent = name[0] in (r"\hat", r"\tilde", r"\bar", r"\vec", r"\dot", r"\mathbb", r"\mathcal", r"\overline")
            inside, i = _argument(tex, i) if accent else ("", i)
            words_apart = name[0] in WORDS and (out[-1:].isalnum() or out[-1:] in (")", "]"))
            out += " " * words_apart + _macro(f"{name[0]}{{{inside}}}" if accent else name[0])
            if not accent and name[0][1:].isalpha():
                while i < len(tex) and tex[i] == " ":
                    i += 1  # the space that ends a macro's name is no space
            out += " " * (name[0] in WORDS and i < len(tex) and tex[i] not in "([_^,.)")
        else:
            out, i = out + tex[i], i + 1
    return out


WORDS = {
    rf"\{word}" for word in ("log", "ln", "exp", "max", "min", "argmax", "argmin", "sin", "cos", "tanh", "det", "lim")
}
OPERATORS = "=≈≠≤≥<>←→∝∼≔≪≫⇒∈·"
CLOSED = {ord(c): 0xE000 + i for i, c in enumerate(OPERATORS)}  # in a script no space goes around them
OPENED = {new: old for old, new in CLOSED.items()}


def _argument(tex: str, i: int) -> tuple[str, int]:
    """What a macro or script at this place takes, and where it ends: {group}, a macro with its argument, or a character."""
    while i < len(tex) and tex[i] == " ":
        i += 1
    if i < len(tex) and tex[i] == "{":
        depth, j = 0, i
        while j < len(tex):
            depth += (tex[j] == "{") - (tex[j] == "}") if tex[j - 1 : j] != "\\" else 0
            j += 1
            if depth == 0:
                return tex[i + 1 : j - 1], j
        return tex[i + 1 :], len(tex)
    found = re.match(r"\\(?:[a-zA-Z]+(?:\{[^{}]*\})*|.)|.", tex[i:], re.S)
    return (found[0], i + found.end()) if found else ("", len(tex))


def _script(inside: str, table: dict[str, str], mark: str) -> str:
    """A superscript or subscript: in small characters where there are any for all of it, else ^(…)."""
    words = _tidy(_convert(inside)).replace(" ", "")
    if words and all(c in table for c in words):
        return "".join(table[c] for c in words)
    plain = re.fullmatch(r"\w*|[<>≤≥]\w|.", words)  # x_ref, x_<t
    return f"{mark}{words.translate(CLOSED)}" if plain else f"{mark}({words.translate(CLOSED)})"


def _whole(inside: str, above: bool = False) -> str:
    """In parentheses unless it reads as one thing without; above a fraction's bar, a product does."""
    words = _tidy(_convert(inside))
    one = r"√?(?:\d+(?:\.\d+)?|[^\W\d])[′₀-₉ᵢⱼₖₗₘₙₜ⁰¹²³ᵀ]*"
    return words if re.fullmatch(rf"(?:{one})+" if above else one, words) else f"({words})"


@functools.cache
def _macro(tex: str) -> str:
    found = str(_translator().latex_to_text(f"${tex}$")).strip()
    return found or ("" if tex in ("\\", r"\displaystyle") else tex.lstrip("\\"))


@functools.cache
def _translator() -> Any:
    import logging

    from pylatexenc.latex2text import LatexNodes2Text  # type: ignore[import-untyped]

    logging.getLogger("pylatexenc").setLevel(logging.ERROR)
    return LatexNodes2Text(math_mode="text", keep_comments=True, strict_latex_spaces=False)


def _tidy(line: str) -> str:
    """Spaces around relations, none doubled by accident (but a \\quad stays two), none at the ends."""
    line = "".join(f" {c} " if c in OPERATORS else c for c in line)
    for c in OPERATORS:
        line = re.sub(rf" +{re.escape(c)} +", f" {c} ", line)
    return re.sub(r" {2,}", " ", line).strip()
