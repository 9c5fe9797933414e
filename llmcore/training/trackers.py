"""Where the numbers of a run go: a tracker has two methods, log and close.

    trackers=[TensorBoardTracker("runs/first/tensorboard")]     # a trainer with a folder writes log.csv in any case

Does not:
- decide what is measured: whoever calls log does
- upload: W&B writes to disk unless told otherwise, and `wandb sync` sends it when you want that
"""

import csv
import os
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    def log(self, step: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class CSVTracker:
    """One line a step, one column a name; each line is on its way to the disk when log returns.

    A run that goes on from step 500 takes back what an interrupted one wrote of later steps, and a line that was cut off.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, str]] = []
        self.torn = False  # the file ends within a line
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                whole, _, cut_off = file.read().rpartition("\n")
            self.torn = cut_off != ""
            self.rows = [row for row in csv.DictReader(whole.splitlines()) if (row.get("step") or "").isdecimal()]
        self.names = [name for name in (self.rows[0] if self.rows else {}) if name and name != "step"]

    def log(self, step: int, values: dict[str, float]) -> None:
        new = [name for name in values if name not in self.names]
        rewrite = bool(new) or self.torn or not self.path.exists()
        while self.rows and int(self.rows[-1]["step"]) >= step:
            self.rows.pop()
            rewrite = True
        self.names += new
        row = {"step": str(step)} | {name: f"{value:.6g}" for name, value in values.items()}
        self.rows.append(row)
        if not rewrite:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, ["step", *self.names]).writerow(row)
            return
        part = self.path.with_name(f"{self.path.name}.part")
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", *self.names], restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(part, self.path)
        self.torn = False

    def close(self) -> None:
        pass


class TensorBoardTracker:
    """Scalars for `tensorboard --logdir FOLDER`. Needs the package tensorboard."""

    def __init__(self, folder: str | Path) -> None:
        try:
            import tensorboard  # type: ignore[import-untyped]  # noqa: F401
        except ImportError:
            raise ImportError("TensorBoardTracker needs a package: pip install tensorboard") from None
        self.folder = str(folder)
        self.writer: Any = None

    def log(self, step: int, values: dict[str, float]) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(self.folder, purge_step=step)  # hides what comes later
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class WandbTracker:
    """Weights & Biases, offline unless mode="online". Needs the package wandb."""

    def __init__(
        self, project: str, folder: str | Path, config: dict[str, Any] | None = None, mode: str = "offline"
    ) -> None:
        try:
            import wandb
        except ImportError:
            raise ImportError("WandbTracker needs a package: pip install wandb") from None
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings: Any = wandb.Settings(silent=True)
        self.run: Any = wandb.init(project=project, dir=str(folder), config=config, mode=mode, settings=settings)  # type: ignore[arg-type]

    def log(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step, commit=True)  # else it is kept back until the next step

    def close(self) -> None:
        self.run.finish()
