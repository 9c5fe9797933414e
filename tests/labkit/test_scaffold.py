"""solution.py → lab.py: nothing of the answer stays, everything else does, and an author's slip is named with its line."""
# tables of one-line cases

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import SOLUTION, TOML, write

from labkit.scaffold import AuthorError, regions, scaffold


def made(source):
    return scaffold(textwrap.dedent(source).lstrip("\n"))


CASES = {
    "a function": (
        """
        import math


        def f(x: int) -> int:
            '''Doc.'''
            # TODO: work
            ### BEGIN SOLUTION
            secret = x
            return secret
            ### END SOLUTION


        main = 1
        """,
        """
        import math


        def f(x: int) -> int:
            '''Doc.'''
            # TODO: work
            raise NotImplementedError("f")


        main = 1
        """,
    ),
    "a method, its class, and what only the solution needs": (
        """
        class A:
            x = 1

            def f(self):
                # TODO: work
                ### BEGIN SOLUTION
                return self.secret()
                ### END SOLUTION

            ### BEGIN SOLUTION
            def secret(self):
                return 5

            ### END SOLUTION
            class B:
                async def g(self):
                    y = 2  # TODO: work
                    ### BEGIN SOLUTION
                    return secret
                    ### END SOLUTION
        """,
        """
        class A:
            x = 1

            def f(self):
                # TODO: work
                raise NotImplementedError("A.f")

            class B:
                async def g(self):
                    y = 2  # TODO: work
                    raise NotImplementedError("A.B.g")
        """,
    ),
    "a nested function and a decorated one": (
        """
        def outer(x):
            def inner(y):
                # TODO: inner work
                ### BEGIN SOLUTION
                return secret(y)
                ### END SOLUTION

            return inner(x)


        @cache
        @other(
            1,
        )
        def decorated(
            x,
        ):
            # TODO: work
            ### BEGIN SOLUTION
            return secret
            ### END SOLUTION
        """,
        """
        def outer(x):
            def inner(y):
                # TODO: inner work
                raise NotImplementedError("outer.inner")

            return inner(x)


        @cache
        @other(
            1,
        )
        def decorated(
            x,
        ):
            # TODO: work
            raise NotImplementedError("decorated")
        """,
    ),
    "a helper at module level, and its blank lines": (
        """
        a = 1


        ### BEGIN SOLUTION
        def secret():
            return 5


        secret2 = 6
        ### END SOLUTION


        def f():
            # TODO: work
            ### BEGIN SOLUTION
            def secret():
                return 5

            return secret()
            ### END SOLUTION
        """,
        """
        a = 1


        def f():
            # TODO: work
            raise NotImplementedError("f")
        """,
    ),
    "a region within a block, and code after it": (
        """
        def f(x):
            for y in x:
                if y:
                    # TODO: work
                    ### BEGIN SOLUTION
                    secret(y)
                    ### END SOLUTION
            def tidy():
                pass
            return tidy
        """,
        """
        def f(x):
            for y in x:
                if y:
                    # TODO: work
                    raise NotImplementedError("f")
            def tidy():
                pass
            return tidy
        """,
    ),
    "a region after a nested function": (
        """
        def f(x):
            # TODO: work
            def given():
                return 1
            ### BEGIN SOLUTION
            return secret
            ### END SOLUTION
        """,
        """
        def f(x):
            # TODO: work
            def given():
                return 1
            raise NotImplementedError("f")
        """,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_scaffold(case):
    source, want = CASES[case]
    text = made(source)
    assert text == textwrap.dedent(want).lstrip("\n")
    assert "secret" not in text
    ast.parse(text)


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_a_region_stays(case):
    source = textwrap.dedent(CASES[case][0]).lstrip("\n")
    lines = source.splitlines()
    hidden = [line for r in regions(source) for line in lines[r.first : r.last - 1] if line.strip()]
    kept = made(source).splitlines()
    assert hidden
    assert not {line.strip() for line in hidden} - {"pass"} & {line.strip() for line in kept}
    assert scaffold("\n".join(kept)) == "\n".join(kept) + "\n"


def test_without_regions_everything_stays():
    assert scaffold("x = 1\n") == "x = 1\n"
    assert scaffold("") == "\n"


ERRORS = {
    "no end": ("x = 1\n### BEGIN SOLUTION\ny = 1", "s.py, line 2: BEGIN SOLUTION without END"),
    "no begin": ("x = 1\n### END SOLUTION", "s.py, line 2: END SOLUTION without BEGIN"),
    "ends twice": ("### BEGIN SOLUTION\n### END SOLUTION\n### END SOLUTION", "line 3: END SOLUTION without BEGIN"),
    "nested": ("### BEGIN SOLUTION\nx = 1\n### BEGIN SOLUTION\n### END SOLUTION\n### END SOLUTION",
               "line 3: BEGIN SOLUTION inside the region that starts at line 1"),
    "no TODO": ("# TODO: elsewhere\ndef f():\n    '''Doc.'''\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION",
                "line 4: no TODO comment tells the learner what to write in f"),
    "TODO behind": ("def f():\n    ### BEGIN SOLUTION\n    return 1  # TODO\n    ### END SOLUTION", "line 2: no TODO"),
    "two in one": ("def f():\n    # TODO\n    ### BEGIN SOLUTION\n    x = 1\n    ### END SOLUTION\n    ### BEGIN SOLUTION\n"
                   "    return x\n    ### END SOLUTION", "two solution regions in f; the second would never run"),
    "an empty class": ("class A:\n    ### BEGIN SOLUTION\n    x = 1\n    ### END SOLUTION", "a block is empty or broken"),
    "an empty if": ("if True:\n    ### BEGIN SOLUTION\n    x = 1\n    ### END SOLUTION\nz = 1", "a block is empty or broken"),
    "half a block": ("### BEGIN SOLUTION\nif True:\n### END SOLUTION\n    x = 1", "a block is empty or broken"),
    "not Python": ("x = (\n", "s.py, line 1: '(' was never closed"),
}  # fmt: skip
for spelling in ("## BEGIN SOLUTION", "# BEGIN SOLUTION", "#### BEGIN SOLUTION", "###BEGIN SOLUTION", "### begin solution",
                 "### BEGIN  SOLUTION", "### BEGIN SOLUTION: secret", "### BEGIN SOLUTIONS", "# END SOLUTION"):  # fmt: skip
    ERRORS[spelling] = (f"x = 1\n{spelling}\n", "s.py, line 2: a marker reads `### BEGIN SOLUTION`")


@pytest.mark.parametrize("case", ERRORS)
def test_a_slip_is_named_with_its_line(case):
    source, sentence = ERRORS[case]
    with pytest.raises(AuthorError) as error:
        scaffold(source, "s.py")
    assert sentence in str(error.value)
    assert str(error.value).startswith("s.py")


# ---- the command


@pytest.fixture
def base(tmp_path):
    for n in (1, 2):
        folder = tmp_path / f"phases/phase-99-x/lab-0{n}-y"
        write(folder / "lab.toml", TOML.replace("99.1", f"99.{n}"))
        write(folder / "solution.py", SOLUTION)
    (tmp_path / "labkit").mkdir()
    return tmp_path


def command(base, *arguments):
    here = str(Path.cwd())
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {here!r}); from labkit import scaffold; sys.exit(scaffold.main())",
         *arguments], cwd=base, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_write_then_check(base):
    first = base / "phases/phase-99-x/lab-01-y/lab.py"
    before = command(base, "--check")
    assert (before.returncode, first.exists()) == (1, False)
    assert before.stderr.count("stale: ") == 2
    assert "Run `make scaffolds`" in before.stderr
    wrote = command(base)
    assert (wrote.returncode, wrote.stdout.count("wrote "), "2 written" in wrote.stdout) == (0, 2, True)
    assert 'raise NotImplementedError("double")' in first.read_text()
    assert command(base, "--check").returncode == 0
    stamp = first.stat().st_mtime_ns
    again = command(base)
    assert (again.returncode, "0 written" in again.stdout, first.stat().st_mtime_ns) == (0, True, stamp)
    first.write_text(first.read_text() + "# touched\n")
    stale = command(base, "--check")
    assert (stale.returncode, stale.stderr.count("stale: ")) == (1, 1)
    assert first.read_text().endswith("# touched\n")
    assert [p.name for p in first.parent.iterdir() if p.name.endswith(".part")] == []


def test_an_authors_slip_is_no_traceback(base):
    (base / "phases/phase-99-x/lab-02-y/solution.py").write_text("### END SOLUTION\n")
    done = command(base)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("solution.py, line 1: END SOLUTION without BEGIN")
    assert "Traceback" not in done.stderr
