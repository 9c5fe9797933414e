"""Forbidden names: found in the source, and refused in the process.  Refusing cannot be undone, so it happens in children."""
# tables of one-line cases

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from labkit import forbid

SDPA = "torch.nn.functional.scaled_dot_product_attention"
NAMES = [SDPA, "torch.nn.MultiheadAttention", "llmcore"]


def uses(source, given=""):
    return forbid.uses(textwrap.dedent(source), NAMES, textwrap.dedent(given))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import llmcore", [(1, "llmcore", "")]),
        ("import llmcore.model.attention as a", [(1, "llmcore", "")]),
        ("from llmcore import model", [(1, "llmcore", "")]),
        ("from llmcore.model import attention", [(1, "llmcore", "")]),
        ("import os, llmcore", [(1, "llmcore", "")]),
        ("from torch.nn import MultiheadAttention", [(1, "torch.nn.MultiheadAttention", "")]),
        ("import torch\ntorch.nn.MultiheadAttention(2, 1)", [(2, "torch.nn.MultiheadAttention", "")]),
        ("import torch.nn as n\nclass M(n.MultiheadAttention): pass", [(2, "torch.nn.MultiheadAttention", "M")]),
        ("import torch.nn\ntorch.nn.MultiheadAttention.forward", [(2, "torch.nn.MultiheadAttention", "")]),
        ("from torch import nn\ndef f():\n    return nn.functional.scaled_dot_product_attention", [(3, SDPA, "f")]),
        ("import torch.nn.functional as F\nasync def f():\n    F.scaled_dot_product_attention()", [(3, SDPA, "f")]),
        ("def f():\n    import torch.nn.functional as F\n    g = F.scaled_dot_product_attention", [(3, SDPA, "f")]),
        ("try:\n    import llmcore\nexcept ImportError:\n    pass", [(2, "llmcore", "")]),
        (
            "class A:\n    def f(self):\n        import llmcore\n\n\nimport llmcore",
            [(3, "llmcore", "A"), (6, "llmcore", "")],
        ),
        ("import os as o, \\\n  llmcore", [(1, "llmcore", "")]),
        ("from \\\r\n  llmcore import model", [(1, "llmcore", "")]),
        ("import\\\rllmcore", [(1, "llmcore", "")]),
        ("from torch import (\n    nn,\n)\nnn.\\\n  MultiheadAttention", [(4, "torch.nn.MultiheadAttention", "")]),
        ("from llmcore.model import(attention)", [(1, "llmcore", "")]),
        ("x = 1;import\tllmcore", [(1, "llmcore", "")]),
        ("import ｌｌｍｃｏｒｅ", [(1, "llmcore", "")]),  # Python reads it as llmcore
    ],
)
def test_found(source, found):
    assert uses(source) == found


@pytest.mark.parametrize(
    "source",
    [
        b"# coding: utf-7\nimport llmc+AG8-re\n",
        b"\xef\xbb\xbf# coding: utf-8\nimport llmcore\n",
        b"# coding: latin-1\nx = '\xff'; import llmcore\n",
    ],
)
def test_found_as_python_reads_the_bytes(source):
    compile(source, "x", "exec")
    assert [name for _, name, _ in forbid.uses(source, NAMES)] == ["llmcore"]


@pytest.mark.parametrize("source", [b"# coding: nonsense\nimport llmcore\n", b"x = '\xff'\nimport llmcore\n"])
def test_bytes_that_python_cannot_read_use_nothing(source):
    assert forbid.uses(source, NAMES) == []


def test_a_file_without_the_words_is_not_parsed(monkeypatch):
    def parse(source):
        raise AssertionError("it was parsed")

    monkeypatch.setattr(forbid, "_parse", parse)
    forbid._names.cache_clear()
    assert uses("import torch\ntorch.nn.Linear(2, 3)  # no Multihead, no Attention") == []
    assert uses("'''As in llmcore.'''\nimport os\nllmcore = 3  # and MultiheadAttention") == []
    with pytest.raises(AssertionError, match="it was parsed"):
        uses("import torch\ntorch.nn.Linear(2, 3)  # no MultiheadAttention")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "import torch.nn.functional as F\nF.softmax",
        "import llmcore2, llm.llmcore",
        "from torch.nn import MultiheadAttentionX",
        "def scaled_dot_product_attention(): pass\nscaled_dot_product_attention()",
        "x.nn.functional.scaled_dot_product_attention",
        "'''import llmcore'''  # import llmcore",
        "import llmcore (",
        "\x00",
        "x = " + "-" * 20_000 + "1",
        "import llmcore\nx = " + "1 + " * 20_000 + "1",
        "x = " + "(" * 5000 + ")" * 5000,
    ],
    ids=lambda s: s[:30],
)
def test_not_found(source):
    assert uses(source) == []


def test_what_was_given_is_not_the_learners_doing():
    given = """
        import llmcore
        def main():
            llmcore.run()
        def f():
            raise NotImplementedError("f")
    """
    assert uses(given, given) == []
    changed = given.replace('raise NotImplementedError("f")', "return llmcore.f()")
    assert uses(changed, given) == [(6, "llmcore", "f")]
    moved = "\n\n# a comment\n" + textwrap.dedent(given)
    assert forbid.uses(moved, NAMES, textwrap.dedent(given)) == []


# ---- in the process

PACKAGE = """
class Tool:
    def __init__(self, x=0):
        self.x = x
def forbidden(x):
    return x
def allowed(x):
    return x
"""


@pytest.fixture
def child(tmp_path):
    """child(code) runs the code where `toolbox` can be imported, and returns what it printed."""
    (tmp_path / "toolbox").mkdir()
    (tmp_path / "toolbox/__init__.py").write_text("from . import inner\n" + PACKAGE)
    (tmp_path / "toolbox/inner.py").write_text(PACKAGE)

    def run(code):
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom labkit import forbid\n" + textwrap.dedent(code)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=Path.cwd())
        return done.stdout.split() + done.stderr.splitlines()[-1:]

    return run


REFUSED = """
def refused(f):
    try:
        try:
            f()
        except Exception as e:
            print("swallowed", type(e).__name__)
        else:
            print("allowed")
    except forbid.Forbidden as e:
        print(e)
"""


@pytest.mark.parametrize("name", ["toolbox.forbidden", "toolbox.inner.forbidden"])
def test_a_function_is_a_trap(child, name):
    owner = name.rpartition(".")[0]
    out = child(
        f"""
        {REFUSED.replace(chr(10), chr(10) + " " * 8)}
        import {owner}
        forbid.watch(["{name}"])
        refused(lambda: {name}(1))
        refused(lambda: {name}(x=1))
        refused(lambda: {owner}.allowed(1))
        from {owner} import forbidden
        refused(lambda: forbidden(1))
        """
    )
    assert out == [name, name, "allowed", name]


def test_the_operators_below_a_function_are_not_found_and_torch_finds_them(child):
    out = child(
        """
        import torch
        ready = torch.ops.aten._softmax.default  # found before: that is no way round it
        forbid.watch(["torch.softmax", "torch.bmm"])
        def said(f):
            try:
                print(f"{f().ndim}-dimensional")
            except forbid.Forbidden as e:
                print(e)
        x = torch.ones(2, 3, 3)
        said(lambda: torch.ops.aten.softmax.int(x, -1))
        said(lambda: torch.ops.aten._softmax(x, -1, False))
        said(lambda: torch._C._jit_get_operation("aten::bmm")[0](x, x))
        said(lambda: torch.ops.aten.matmul(x, x))
        said(lambda: torch.ops.aten.baddbmm(x, x, x))
        said(lambda: torch.nn.functional.cross_entropy(x, x))
        import torch._decomp
        said(lambda: torch.einsum("bij,bjk->bik", x, x))
        """
    )
    three = "3-dimensional"
    assert out == ["torch.softmax", "torch.softmax", "torch.bmm", three, three, "0-dimensional", three]


def test_a_class_is_a_trap_and_stays_a_class(child):
    out = child(
        f"""
        {REFUSED.replace(chr(10), chr(10) + " " * 8)}
        import toolbox
        old = toolbox.Tool()
        forbid.watch(["toolbox.Tool"])
        refused(lambda: toolbox.Tool(3))
        class Mine(toolbox.Tool):
            def __init__(self): pass
        print(isinstance(old, toolbox.Tool), isinstance(Mine(), toolbox.Tool), isinstance(3, toolbox.Tool))
        refused(type("Theirs", (toolbox.Tool,), {{}}))
        """
    )
    assert out == ["toolbox.Tool", "True", "True", "False", "toolbox.Tool"]


@pytest.mark.parametrize("before", ["", "import toolbox.inner"])
def test_a_package_cannot_be_imported(child, before):
    out = child(
        f"""
        {before}
        forbid.watch(["toolbox", "no_such_package"])
        import importlib
        for name in ("toolbox", "toolbox.inner", "no_such_package", "no_such_package.a", "json", "toolboxes"):
            try:
                importlib.import_module(name)
                print(name, "imported")
            except ImportError as e:
                print(name, type(e).__name__, e.name)
        """
    )
    names = ["toolbox", "toolbox.inner", "no_such_package", "no_such_package.a"]
    assert out == [
        *(word for name in names for word in (name, "ForbiddenImport", "None")),
        "json",
        "imported",
        "toolboxes",
        "ModuleNotFoundError",
        "toolboxes",
    ]


def test_the_folders_of_packages_are_found_without_importing_them(child):
    out = child(
        """
        import sys
        names = ["toolbox", "toolbox.inner", "toolbox.forbidden", "no_such_package", "math", "json.tool", "xml.dom"]
        for name in names:
            print(name, [place.rpartition("/")[2] for place in forbid.folders(name)])
        print([name for name in ("toolbox", "xml.dom") if name in sys.modules])
        """
    )
    text = " ".join(out)
    for wanted in ("toolbox ['toolbox']", "no_such_package []", "math []", "json.tool []", "xml.dom ['dom']"):
        assert wanted in text
    assert text.endswith(" []")


def test_a_module_of_a_package_alone(child):
    out = child(
        """
        forbid.watch(["toolbox.inner"])
        import sys
        for name in ("json.tool", "toolbox.inner"):
            try:
                __import__(name)
                print(name)
            except forbid.ForbiddenImport as e:
                print("refused", e)
        """
    )
    assert out == ["json.tool", "refused", "toolbox.inner"]


@pytest.fixture
def folder(tmp_path):
    for lab in ("phase-01-a/lab-01-b", "phase-01-a/lab-02-c", "phase-02-d/lab-01-e"):
        for name in (
            "lab.py",
            "notes.py",
            "solution.py",
            "mistakes.py",
            "equivalents.py",
            "test_lab.py",
            "solution_notes.txt",
        ):
            path = tmp_path / "phases" / lab / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x = 1\n")
    (tmp_path / "phases/phase-01-a/lab-01-b/link.py").symlink_to("solution.py")
    (tmp_path / "solution.py").write_text("x = 1\n")
    return tmp_path / "phases/phase-01-a/lab-01-b"


WAYS = {
    "open": "lambda p: open(p)",
    "bytes": "lambda p: open(os.fsencode(p), 'rb')",
    "pathlib": "lambda p: pathlib.Path(p).read_text()",
    "os.open": "lambda p: os.open(p, os.O_RDONLY)",
    "io": "lambda p: io.FileIO(p)",
    "import": "lambda p: importlib.machinery.SourceFileLoader('m', p).load_module()",
    "runpy": "lambda p: runpy.run_path(p)",
    "copy": "lambda p: shutil.copyfile(p, os.devnull)",
    "relative": "lambda p: (os.chdir(os.path.dirname(p)), open(os.path.basename(p)))",
    "dots": "lambda p: open(os.path.dirname(p) + '/.//' + os.path.basename(p))",
}


@pytest.mark.parametrize("way", WAYS)
def test_the_answers_cannot_be_opened(child, folder, way):
    there = ["solution.py", "mistakes.py", "equivalents.py", "test_lab.py", "link.py", "../lab-02-c/solution.py",
             "../../phase-02-d/lab-01-e/test_lab.py", "lab.py", "notes.py", "../../../solution.py", "solution_notes.txt"]  # fmt: skip
    out = child(
        f"""
        import importlib.machinery, io, os, pathlib, runpy, shutil, warnings
        warnings.simplefilter("ignore")
        {REFUSED.replace(chr(10), chr(10) + " " * 8)}
        forbid.watch([], pathlib.Path({str(folder)!r}))
        way = {WAYS[way]}
        for name in {there}:
            refused(lambda: way(os.path.join({str(folder)!r}, name)))
        """
    )
    answers = [
        "solution.py",
        "mistakes.py",
        "equivalents.py",
        "test_lab.py",
        "solution.py",
        "solution.py",
        "test_lab.py",
    ]
    out = [re.sub(r"\.cpython.*", ".py", word) for word in out]
    assert out == [*answers, *["allowed"] * 4]


def test_a_plain_import_of_the_solution(child, folder):
    out = child(
        f"""
        import pathlib, sys
        sys.path.insert(0, {str(folder)!r})
        forbid.watch([], pathlib.Path({str(folder)!r}))
        import notes
        print(notes.x)
        try:
            import solution
            print("imported")
        except forbid.Forbidden as e:
            print(e)
        """
    )
    assert [word.split(".")[0] for word in out] == ["1", "solution"]


def test_without_a_folder_the_answers_are_open(child, folder):
    out = child(f"forbid.watch([]); print(open({str(folder / 'solution.py')!r}).read())")
    assert out == ["x", "=", "1"]


def test_descriptors_and_odd_names_pass_the_guard(child, folder):
    out = child(
        f"""
        import os, pathlib
        forbid.watch([], pathlib.Path({str(folder)!r}))
        read, write = os.pipe()
        os.fdopen(write, "w").write("5\\n")
        print(open(read).read())
        try:
            open("a\\0b")
        except ValueError:
            print("ValueError")
        """
    )
    assert out == ["5", "ValueError"]
