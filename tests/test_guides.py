"""The guides: their code prints what they say, and each has the parts that a reader was promised."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from llmcore import assets

ROOT = Path(__file__).resolve().parent.parent
GUIDES = sorted(ROOT.glob("phases/*/HITCHHIKERS-GUIDE.md"))


def test_there_are_guides():
    assert GUIDES


@pytest.mark.timeout(600)  # some train small models, and machines are sometimes busy
@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.parent.name)
def test_the_code_of_a_guide_prints_what_it_says(guide):
    assets.fetch("gpt2")
    # In a process of its own, on one thread: the last digits of a trained model depend on how many there are.
    code = "import doctest, sys; print(*doctest.testfile(sys.argv[1], module_relative=False, encoding='utf-8'))"
    command, threads = [sys.executable, "-c", code, str(guide)], {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | threads, stdout=subprocess.PIPE, text=True, check=True)
    failed, tried = map(int, done.stdout.splitlines()[-1].split())
    assert tried > 10
    assert not failed, done.stdout


@pytest.mark.parametrize("page", sorted(ROOT.glob("phases/**/*.md")), ids=lambda path: "/".join(path.parts[-2:]))
def test_no_code_block_swallows_what_follows(page):
    """A fence that nobody closes takes the next heading with it, and doctest does not mind."""
    text = page.read_text(encoding="utf-8")
    for block in (token for token in MarkdownIt().parse(text) if token.type == "fence"):
        last = text.splitlines()[block.map[1] - 1]
        assert last.strip().startswith(block.markup), f"nobody closes: {block.content[:200]}"
        assert not re.search(r"^(#{2,} |```)", block.content, re.MULTILINE), block.content[:200]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.parent.name)
def test_a_guide_has_a_picture_algebra_and_code_for_each_concept_and_ten_answered_questions(guide):
    text = guide.read_text(encoding="utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    concepts = [part for part in parts if re.match(r"\d+ · ", part)]
    assert len(concepts) >= 5
    for part in concepts:
        assert re.findall(r"^### (\w+)", part, re.MULTILINE) == ["Picture", "Algebra", "Code"], part[:40]
    questions = next(part for part in parts if part.startswith("Ten questions"))
    asked = re.findall(r"^\*\*(\d+)\. .*?\*\*(.*?)(?=^\*\*\d+\.|\Z)", questions, re.MULTILINE | re.DOTALL)
    assert [number for number, _ in asked] == [str(n) for n in range(1, 11)]
    assert all(len(answer.split()) > 15 for _, answer in asked)
    assert {"Before you start", "A week", "References"} <= {part.splitlines()[0] for part in parts}
