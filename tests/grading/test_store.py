"""The results folder: nobody else's is touched, one salt to a folder, and every file in it is whole."""

import json

import pytest

from labkit.catalog import LabError
from labkit.grading.records import TaskVerdict, Verdict
from labkit.grading.store import RUN, Store
from labkit.scaffold import write

VERDICT = Verdict(
    "4.1", "Attention", "ab" * 32, [TaskVerdict("scale", 2, 0, "wrong", printed="é \ud800 <b>")], ["mask"]
)


def test_a_new_folder_an_empty_one_and_one_below_none(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "a/b/c"):
        store, salt = Store.open(tmp_path / name, "", resume=False)
        assert len(salt) == 16
        assert store.salt() == salt
    assert len({Store(tmp_path / n).salt() for n in ("new", "empty", "a/b/c")}) == 3


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path, resume):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(LabError, match="is not empty and holds no results") as e:
        Store.open(tmp_path, "", resume)
    assert "\n" not in str(e.value)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(LabError, match="Name a new folder"):
        Store.open(tmp_path / "out", "", resume=False)


def test_an_earlier_run_needs_resume(tmp_path):
    _, salt = Store.open(tmp_path, "", resume=False)
    with pytest.raises(LabError, match="--resume"):
        Store.open(tmp_path, "", resume=False)
    assert Store.open(tmp_path, "", resume=True)[1] == salt
    assert Store.open(tmp_path, salt, resume=True)[1] == salt
    with pytest.raises(LabError, match="another --seed-salt"):
        Store.open(tmp_path, salt + "x", resume=True)
    assert Store(tmp_path).salt() == salt


@pytest.mark.parametrize("text", ["", "{", "[]", '{"salt": 5}', "\x00"])
def test_a_broken_run_is_one_line(tmp_path, text):
    Store.open(tmp_path, "s", resume=False)
    (tmp_path / RUN).write_text(text)
    with pytest.raises(LabError, match=r"cannot be read\.") as e:
        Store.open(tmp_path, "", resume=True)
    assert "\n" not in str(e.value)


def test_a_verdict_comes_back_and_one_that_is_not_there_does_not(tmp_path):
    store, _ = Store.open(tmp_path, "", resume=False)
    assert store.get("k") is None
    store.keep("k", VERDICT, b"seen")
    assert store.get("k") == VERDICT
    assert store.observations("k") == b"seen"
    with pytest.raises(LabError, match="are not in"):
        store.observations("other")


def test_every_cut_of_a_verdict_counts_as_none(tmp_path):
    store, _ = Store.open(tmp_path, "", resume=False)
    store.keep("k", VERDICT, b"")
    path = store.verdicts / "k.json"
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        assert store.get("k") is None
    for text in (
        "[]",
        '{"tasks": 5}',
        '{"tasks": "ab"}',
        '{"tasks": [[1]]}',
        '{"tasks": [{"x": 1}]}',
        '{"tasks": []}',
        "\xff",
    ):
        path.write_text(text, encoding="latin-1")
        assert store.get("k") is None


def test_the_verdict_is_written_last(tmp_path, monkeypatch):
    store, _ = Store.open(tmp_path, "", resume=False)
    (store.verdicts / "k.json.part").mkdir()  # so that the second of the two files cannot be written
    with pytest.raises(IsADirectoryError):
        store.keep("k", VERDICT, b"seen")
    assert store.get("k") is None
    assert store.observations("k") == b"seen"


def test_what_is_written_is_the_new_or_the_old_one(tmp_path):
    path = tmp_path / "f"
    write(path, "old")
    (tmp_path / "f.part").mkdir()
    with pytest.raises(IsADirectoryError):
        write(path, "new")
    assert path.read_text() == "old"
    (tmp_path / "f.part").rmdir()
    write(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_files_are_kept_under_their_hash_and_once(tmp_path):
    store, _ = Store.open(tmp_path, "", resume=False)
    for data in (b"", b"x = 1\r\n\xff", b"x = 1\r\n\xff"):
        store.keep_file(data)
    assert len([*store.files.iterdir()]) == 2
    assert store.file("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == b""  # sha256 of nothing
    with pytest.raises(LabError, match="The file itself"):
        store.file("00")


def test_the_index_and_a_folder_without_results(tmp_path):
    with pytest.raises(LabError, match="holds no results"):
        Store(tmp_path).index()
    store, _ = Store.open(tmp_path, "", resume=False)
    assert store.index() == {}
    store.keep_index({("ada", "4.1"): "k", ("../é", "4.1"): "m", ("ada", "1.2"): "n"})
    assert store.index() == {"ada": {"4.1": "k", "1.2": "n"}, "../é": {"4.1": "m"}}
    assert json.loads((tmp_path / "index.json").read_text())["ada"] == {"4.1": "k", "1.2": "n"}


def test_variants_of_a_lab_have_a_place_each(tmp_path):
    store = Store(tmp_path)
    places = [store.variant("4.1", d) for d in ((), ("mask",), ("mask", "window"))]
    assert [p.name for p in places] == ["4.1", "4.1-mask", "4.1-mask-window"]


def test_a_disk_that_refuses_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="Results cannot be written") as e:
        Store.open(tmp_path / "file" / "out", "", resume=False)
    assert "\n" not in str(e.value)
