"""Checkpoints that survive being killed: a folder for each, which is there in whole or not at all.

    runs/first/step-00000500/state.pt     everything that goes on: torch.load(..., weights_only=True) reads it
    runs/first/step-00000500/meta.json    step, hash of state.pt, config, commit, versions: to be read by people

A checkpoint is written under another name, forced onto the disk, and renamed: the rename is the one moment at which it
begins to exist. Whoever reads checks the hash, and takes the one before when it is wrong.

Does not:
- know what a model is: state is a dict of tensors, numbers, strings, and lists and dicts of them
- run code from a file: no pickles but torch's restricted ones
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

PREFIX = "step-"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; its message says which, and why."""


def save(
    folder: str | Path, step: int, state: dict[str, Any], config: dict[str, Any] | None = None, keep: int = 0
) -> Path:
    """Write one, then keep the newest `keep` of those up to this step (0: all). One of the same step is replaced.

    Args:
        config: what the run was started with, in JSON's types: for people, and to notice when a run goes on differently.
    """
    folder = Path(folder)
    final = folder / _name(step)
    part = folder / f".{final.name}.{os.getpid()}.part"
    old = folder / f".{final.name}.old"
    folder.mkdir(parents=True, exist_ok=True)
    _put_back(folder)
    for left in (*folder.glob(f".{PREFIX}*.part"), *folder.glob(f".{PREFIX}*.old")):  # of runs that were killed
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir()
    with (part / "state.pt").open("wb") as file:
        torch.save(state, file)
        _onto_disk(file)
    with (part / "state.pt").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    meta = {"step": step, "sha256": digest, "commit": commit(), "torch": torch.__version__, "config": config or {}}
    with (part / "meta.json").open("w", encoding="utf-8") as text:
        json.dump(meta, text, indent=1)
        _onto_disk(text)
    _folder_onto_disk(part)
    if final.exists():  # a folder cannot be renamed onto another: move it away, to where _put_back finds it
        os.rename(final, old)
    os.rename(part, final)
    _folder_onto_disk(folder)
    shutil.rmtree(old, ignore_errors=True)
    upto = [number for number in steps(folder) if number <= step]  # later ones are damaged, or we would not be here
    for number in upto[:-keep] if keep > 0 else []:
        shutil.rmtree(folder / _name(number))
    return final


def load(path: str | Path) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """(step, state, config) of one checkpoint, tensors on the CPU. Raises CheckpointError when it is not whole."""
    path = Path(path)
    try:
        meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
        step, digest, config = meta["step"], meta["sha256"], meta["config"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise CheckpointError(
            f"{path} is no checkpoint of ours: its meta.json is missing or says something else"
        ) from e
    try:
        with (path / "state.pt").open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise CheckpointError(f"{path} has no state.pt that can be read: {e.strerror}") from e
    if found != digest:
        raise CheckpointError(f"{path / 'state.pt'} is not what was written: it was truncated or changed")
    try:
        return step, torch.load(path / "state.pt", map_location="cpu", weights_only=True), config
    except Exception as e:  # a file that was never a checkpoint makes the unpickler stumble in a dozen ways
        raise CheckpointError(f"{path / 'state.pt'} holds what torch.load(weights_only=True) does not take") from e


def latest(folder: str | Path) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
    """The newest checkpoint that is whole; None where there is none at all. Warns of each that it has to pass over.

    Raises CheckpointError where there are some, and none can be used.
    """
    found = steps(folder)
    for step in reversed(found):
        try:
            read = load(Path(folder) / _name(step))
            if read[0] != step:
                raise CheckpointError(f"{Path(folder) / _name(step)} says that it is of step {read[0]}")
            return read
        except CheckpointError as e:
            warnings.warn(f"{e}; going back to the one before", stacklevel=2)
    if found:
        raise CheckpointError(f"{folder}: none of its {len(found)} checkpoints can be used")
    return None


def steps(folder: str | Path) -> list[int]:
    """The steps of which there are checkpoints, ascending."""
    _put_back(Path(folder))
    names = {path.name for path in Path(folder).glob(f"{PREFIX}*") if path.is_dir()}
    numbers = (int(name.removeprefix(PREFIX)) for name in names if name.removeprefix(PREFIX).isdecimal())
    return sorted(number for number in numbers if _name(number) in names)


def _name(step: int) -> str:
    return f"{PREFIX}{step:08d}"


def _put_back(folder: Path) -> None:
    """What a run was about to replace when it was killed between the two renames."""
    for old in folder.glob(f".{PREFIX}*.old"):
        final = folder / old.stem.removeprefix(".")
        if not final.exists():
            os.rename(old, final)


def random_state() -> dict[str, Any]:
    """The state of every generator that a training step may draw from: torch's, CUDA's, Python's, NumPy's."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
    }


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    devices = range(torch.cuda.device_count())  # a run may go on where there are more, fewer or none
    for device, one in zip(devices, state["cuda"], strict=False):
        torch.cuda.set_rng_state(one, device)
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))


def commit() -> str:
    """The commit of the folder one works in, with "+changes" where the tree is not clean; "" outside a repository."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changes = subprocess.run(
            ["git", "--no-optional-locks", "status", "--porcelain"],  # whoever commits meanwhile is not kept waiting
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def _onto_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_onto_disk(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
