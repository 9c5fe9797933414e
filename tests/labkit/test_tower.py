"""`lab tower`: whose bricks, and what to lay next."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RIGHT, fill, write

from labkit import catalog, tower
from labkit.cli import main
from labkit.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
LAB = str(Path(sys.executable).with_name("lab"))
PLAN = """
[[layer]]
name = "ground"
does = "carries"
labs = ["99.1"]

[[layer]]
name = "both"
does = "needs two"
labs = ["99.1", "99.2"]

[[layer]]
name = "lent"
does = "a file stands in"
labs = ["99.3"]
library = "lib/there.py"

[[layer]]
name = "air"
does = "nothing there"
labs = ["99.4"]
library = "lib/not_there.py"
"""


@pytest.fixture
def plan(lab, tmp_path):
    write(tmp_path / "phases" / "tower.toml", PLAN)
    write(tmp_path / "lib" / "there.py", "")
    return lab


def states(capsys) -> list[str]:
    assert main(["tower", "--json"]) == 0
    return [layer["state"] for layer in json.loads(capsys.readouterr().out)["layers"]]


def test_states_follow_the_labs(plan, capsys):
    assert states(capsys) == ["reference", "reference", "reference", "not there yet"]
    fill(plan, double="2 * x")
    assert states(capsys) == ["begun", "begun", "reference", "not there yet"]
    fill(plan, **RIGHT)
    main(["check", "99.1"])
    capsys.readouterr()
    assert states(capsys) == ["yours", "begun", "reference", "not there yet"]
    fill(plan)  # started over; what passed in one file once has passed
    assert states(capsys) == ["yours", "begun", "reference", "not there yet"]


def test_the_next_brick_is_the_lowest_that_can_be_laid(plan, capsys):
    def following() -> str | None:
        assert main(["tower", "--json"]) == 0
        found: str | None = json.loads(capsys.readouterr().out)["next"]
        return found

    assert following() == "99.1"
    fill(plan, **RIGHT)
    main(["check", "99.1"])
    capsys.readouterr()
    assert following() is None
    main(["tower"])
    assert "Every brick that can be laid today is yours." in capsys.readouterr().out


def test_a_begun_lab_comes_before_an_open_one_of_its_layer():
    labs = {i: catalog.read(next(ROOT.glob("phases/phase-01*/lab-01*"))) for i in ("1.1",)}
    every = [labs["1.1"]]
    storeys = [tower.Layer("a", "", {"9.9": "not built", "1.1": "open"}, "reference")]
    assert tower.next_brick(storeys, every) == (storeys[0], labs["1.1"])
    assert tower.next_brick([tower.Layer("a", "", {"9.9": "not built"}, "not there yet")], every) is None
    assert tower.next_brick([], every) is None


def test_it_is_drawn_from_the_top_down_and_names_the_next_brick(plan, capsys):
    main(["tower"])
    out = capsys.readouterr().out
    names = [line.split("▌ ")[1].split()[0] for line in out.splitlines() if "▌" in line]
    assert names == ["air", "lent", "both", "ground"]
    assert "Next brick: 99.1 Numbers, for ground." in out
    assert "99.1· 99.2" in out
    assert "\033" not in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_encoding_without_bricks_gets_ascii(plan, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    out = subprocess.run([LAB, "tower"], capture_output=True, check=True, env=environment).stdout
    assert out.isascii() == (encoding != "utf-8")
    assert b"ground" in out
    assert b"?" not in out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[layer", "tower.toml"),
        ("x = 1", "a [[layer]] has"),
        ('[[layer]]\nname = "a"\ndoes = "b"\n', "labs"),
        ("layer = 3", "a [[layer]]"),
    ],
)
def test_a_slip_in_the_plan_is_one_sentence(plan, tmp_path, text, says, capsys):
    (tmp_path / "phases" / "tower.toml").write_text(text)
    assert main(["tower"]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_without_a_plan_it_says_so(lab, capsys):
    assert main(["tower"]) == 2
    assert "tower.toml" in capsys.readouterr().err


@pytest.mark.parametrize("plain", [True, False])
def test_the_real_tower_fits_a_screen_and_names_every_built_lab(plain):
    every, out = catalog.labs(ROOT), io.StringIO()
    storeys = tower.layers(ROOT, every, Progress(Path("/nowhere")))
    tower.draw(storeys, every, out, plain)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 30
    named = [lab_id for layer in storeys for lab_id in layer.labs]
    assert len(named) == len({*named})
    assert {lab.id for lab in every} <= {*named}
