"""What trackers write, read back: CSV by the csv module, TensorBoard and W&B by their own readers."""

import csv
import io
import json
import math
import struct
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from llmcore.training.trackers import CSVTracker, TensorBoardTracker, WandbTracker


def read(path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


# CSV


def test_one_line_a_step_and_one_column_a_name(tmp_path):
    path = tmp_path / "new" / "folder" / "log.csv"
    tracker = CSVTracker(path)
    assert not path.exists()
    tracker.log(0, {"loss": 3.25, "rate": 1e-7})
    tracker.log(10, {"loss": -2.0, "rate": 123456789.0})
    assert read(path) == [
        {"step": "0", "loss": "3.25", "rate": "1e-07"},
        {"step": "10", "loss": "-2", "rate": "1.23457e+08"},
    ]
    assert list(path.parent.iterdir()) == [path]
    tracker.close()


def test_a_line_is_in_the_file_when_log_returns_and_only_added_to_it(tmp_path):
    path = tmp_path / "log.csv"
    tracker = CSVTracker(path)
    tracker.log(1, {"loss": 1.0})
    file = path.stat().st_ino
    for step in range(2, 20):
        before = path.read_bytes()
        tracker.log(step, {"loss": 1 / step})
        assert path.read_bytes().startswith(before)
        assert len(read(path)) == step
    assert path.stat().st_ino == file  # never written anew


def test_a_column_can_come_later_and_stay_away(tmp_path):
    path = tmp_path / "log.csv"
    tracker = CSVTracker(path)
    tracker.log(1, {"loss": 5.0, "rate": 0.5})
    tracker.log(2, {"rate": 0.25, "loss": 4.0, "validation, held out": 4.5})
    tracker.log(3, {"loss": 3.0})
    assert read(path) == [
        {"step": "1", "loss": "5", "rate": "0.5", "validation, held out": ""},
        {"step": "2", "loss": "4", "rate": "0.25", "validation, held out": "4.5"},
        {"step": "3", "loss": "3", "rate": "", "validation, held out": ""},
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_number_is_written_as_it_is(tmp_path):
    tracker = CSVTracker(tmp_path / "log.csv")
    tracker.log(1, {"a": math.nan, "b": math.inf, "c": -math.inf})
    assert read(tmp_path / "log.csv") == [{"step": "1", "a": "nan", "b": "inf", "c": "-inf"}]


@pytest.mark.parametrize(("again", "kept"), [(30, [10, 20]), (35, [10, 20, 30]), (50, [10, 20, 30, 40]), (5, [])])
def test_a_run_that_goes_on_takes_back_what_came_later(tmp_path, again, kept):
    path = tmp_path / "log.csv"
    first = CSVTracker(path)
    for step in (10, 20, 30, 40):
        first.log(step, {"loss": step / 100, "mfu": 0.5})
    second = CSVTracker(path)
    assert len(read(path)) == 4  # nothing is lost by looking
    second.log(again, {"loss": 7.0, "mfu": 0.25})
    second.log(again + 1, {"loss": 8.0, "mfu": 0.25})
    assert [(row["step"], row["loss"]) for row in read(path)] == [
        *((str(step), f"{step / 100:g}") for step in kept), (str(again), "7"), (str(again + 1), "8"),
    ]  # fmt: skip


def test_a_run_that_goes_on_can_have_other_columns(tmp_path):
    path = tmp_path / "log.csv"
    CSVTracker(path).log(1, {"loss": 1.0, "mfu": 0.5})
    second = CSVTracker(path)
    second.log(2, {"norm": 3.0, "loss": 2.0})
    assert read(path) == [
        {"step": "1", "loss": "1", "mfu": "0.5", "norm": ""},
        {"step": "2", "loss": "2", "mfu": "", "norm": "3"},
    ]


def test_a_line_that_was_cut_off_anywhere_costs_itself_alone(tmp_path):
    path = tmp_path / "log.csv"
    tracker = CSVTracker(path)
    for step in (480, 490, 500):
        tracker.log(step, {"loss": step + 0.25, "rate": 0.125})
    whole = path.read_bytes()
    start = whole.rindex(b"500")
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        tracker = CSVTracker(path)
        tracker.log(510, {"loss": 1.0, "rate": 2.0})
        mended = path.stat().st_ino
        tracker.log(520, {"loss": 1.0, "rate": 2.0})
        assert path.stat().st_ino == mended  # once is enough
        assert [row["step"] for row in read(path)] == ["480", "490", "510", "520"]
        assert all(row.keys() == {"step", "loss", "rate"} and None not in row.values() for row in read(path))


@pytest.mark.parametrize("content", ["", "step,loss\r\n", "step,lo", "something else\n\n,,\n1;2\n"])
def test_a_file_without_a_whole_line_is_begun_anew(tmp_path, content):
    path = tmp_path / "log.csv"
    path.write_text(content, encoding="utf-8", newline="")
    CSVTracker(path).log(3, {"loss": 2.0})
    assert [(row["step"], row["loss"]) for row in read(path)] == [("3", "2")]


def test_a_file_that_was_removed_meanwhile_comes_back_whole(tmp_path):
    path = tmp_path / "log.csv"
    tracker = CSVTracker(path)
    tracker.log(1, {"loss": 2.0})
    path.unlink()
    tracker.log(2, {"loss": 1.0})
    assert [row["step"] for row in read(path)] == ["1", "2"]


# TensorBoard


def scalars(folder, name):
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(each.step, each.value) for each in events.Scalars(name)]


def test_tensorboard_reads_what_was_logged(tmp_path):
    tracker = TensorBoardTracker(tmp_path / "board")
    assert not (tmp_path / "board").exists()
    tracker.log(5, {"loss": 2.5, "rate": 0.125})
    tracker.log(9, {"loss": 1.25})
    tracker.close()
    assert scalars(tmp_path / "board", "loss") == [(5, 2.5), (9, 1.25)]
    assert scalars(tmp_path / "board", "rate") == [(5, 0.125)]


def test_tensorboard_hides_what_an_interrupted_run_wrote_of_later_steps(tmp_path):
    first = TensorBoardTracker(tmp_path / "board")
    for step in (10, 20, 30):
        first.log(step, {"loss": float(step)})
    first.close()
    second = TensorBoardTracker(tmp_path / "board")
    second.log(20, {"loss": 0.5})
    second.log(30, {"loss": 0.25})
    second.close()
    assert scalars(tmp_path / "board", "loss") == [(10, 10.0), (20, 0.5), (30, 0.25)]


def test_a_tensorboard_without_a_line_can_be_closed(tmp_path):
    TensorBoardTracker(tmp_path / "board").close()
    assert not (tmp_path / "board").exists()


# Weights & Biases


def wandb_history(file):
    """The lines of a run, from W&B's format: blocks of 32 KiB of pieces (checksum, length, kind) of protobuf records."""
    data, at, whole, rows = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if at % 2**15 > 2**15 - 7:  # no room for another header in this block
            at += -at % 2**15
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if at + 7 + length > len(data):  # is being written
            break
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (2, 3):  # first, middle: it goes on
            continue
        record, whole = Record.FromString(whole), b""
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({each.key or each.nested_key[0]: json.loads(each.value_json) for each in items})
    return rows


def test_wandb_writes_a_run_to_disk_without_a_network(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name.lower()))
    tracker = WandbTracker("labs", tmp_path / "runs", {"d_model": 12})
    tracker.log(3, {"loss": 2.5})
    tracker.log(7, {"loss": 1.25})
    assert tracker.run.project == "labs"
    assert tracker.run.config["d_model"] == 12
    assert tracker.run.offline
    assert tracker.run.summary["loss"] == 1.25  # not kept back until there is another step
    tracker.close()
    (file,) = (tmp_path / "runs").rglob("run-*.wandb")
    until = time.monotonic() + 60  # wandb writes in a process of its own, which may lag behind
    while len(wandb_history(file)) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert [(row["_step"], row["loss"]) for row in wandb_history(file)] == [(3, 2.5), (7, 1.25)]


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("tensorboard", lambda folder: TensorBoardTracker(folder)),
        ("wandb", lambda folder: WandbTracker("labs", folder)),
    ],
)
def test_what_is_not_installed_is_named_with_its_command(tmp_path, monkeypatch, package, make):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        make(tmp_path / "x")
