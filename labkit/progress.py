"""What this learner has passed, which hints they took, and copies of what they wrote: the folder .lab/, git-ignored.

    .lab/progress.json   keyed by lab: the hash of the lab.py that was checked last and the tasks it passed; the hash of
                         the one that passed them all; hints taken; tasks whose reference was asked for; the scaffold
                         that was given out
    .lab/backup/4.1/     lab.py as it was before a reset
    .lab/cache/          what the spec sees of each known mistake (see diagnose)

Files are replaced whole, so an interrupted run leaves the old one.  One that cannot be read is set aside, not lost.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from labkit import scaffold
from labkit.catalog import Lab, Task


def digest(path: Path) -> str:
    """The content hash by which a passing file is known; "" when there is no file that can be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # asking first whether it exists would leave an editor the time to take it away
        return ""


class Progress:
    """The record in .lab/progress.json.  Reading never fails; writing is atomic."""

    def __init__(self, base: Path) -> None:
        self.folder = base / ".lab"
        self.path = self.folder / "progress.json"
        self._labs: dict[str, dict[str, Any]] = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError):
            text = ""
        try:
            data = json.loads(text)
            if _valid(data):
                labs: dict[str, dict[str, Any]] = data["labs"]
                return labs
        except (ValueError, RecursionError):
            pass
        aside = self.path.with_name(f"progress.json.unreadable-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            self.path.replace(aside)
            kept = f"the old file is kept as .lab/{aside.name}"
        except OSError as e:
            kept = f"it cannot be set aside ({e.strerror}): `lab doctor`"
        print(f"Progress could not be read, so it starts anew; {kept}", file=sys.stderr)
        return {}

    def _save(self) -> None:
        self.folder.mkdir(exist_ok=True)
        scaffold.write(self.path, json.dumps({"version": 1, "labs": self._labs}, indent=1, sort_keys=True) + "\n")

    def _of(self, lab: Lab) -> dict[str, Any]:
        return self._labs.setdefault(lab.id, {"hash": "", "done": "", "passed": [], "hints": {}, "scaffold": ""})

    def record(self, lab: Lab, file_hash: str, verdicts: dict[str, bool]) -> None:
        """Remembers a check.  Tasks that were not checked keep their verdict only if the file is still the same."""
        mine = self._of(lab)
        kept = set(mine["passed"]) if mine["hash"] == file_hash else set()
        kept -= {t for t, ok in verdicts.items() if not ok}
        kept |= {t for t, ok in verdicts.items() if ok}
        mine |= {"hash": file_hash, "passed": [t.name for t in lab.tasks if t.name in kept]}
        if len(kept) == len(lab.tasks):
            mine |= {"done": file_hash, "passed_on": time.strftime("%Y-%m-%d")}
        self._save()

    def passed(self, lab: Lab) -> list[str]:
        """Tasks that passed at the last check, whether or not the file has changed since."""
        return [t.name for t in lab.tasks if t.name in self._labs.get(lab.id, {}).get("passed", [])]

    def changed(self, lab: Lab) -> bool:
        """lab.py is not the file that passed: all tasks, or if that never happened, some."""
        mine = self._labs.get(lab.id, {})
        passed = mine.get("done") or (mine["hash"] if mine.get("passed") else "")
        return bool(passed) and passed != digest(lab.file("lab.py"))

    def points(self, lab: Lab) -> int:
        return sum(t.points for t in lab.tasks if t.name in self.passed(lab))

    def done(self, lab: Lab) -> bool:
        """All tasks have passed once, in one file.  An experiment afterwards takes nothing away."""
        return bool(self._labs.get(lab.id, {}).get("done"))

    def passed_on(self, lab: Lab) -> str:
        """The day all tasks last passed in one file, as 2026-01-31; "" if they never did or the record is an old one."""
        return str(self._labs.get(lab.id, {}).get("passed_on", ""))

    def refusal(self, lab: Lab, file_hash: str) -> str:
        """Why a lab.py of this hash does not count as one that passed the whole spec, and what to type; "": it does.

        Its last check decides, and if another file was checked since, whether it was the last to pass everything.
        """
        mine = self._labs.get(lab.id, {})
        left = [t.name for t in lab.tasks if t.name not in mine.get("passed", [])]
        same = bool(file_hash) and mine.get("hash") == file_hash
        if (same and not left) or (not same and file_hash and mine.get("done") == file_hash):
            return ""
        if not self.started(lab):
            return f"nothing is written yet.  Begin with: lab show {lab.id}"
        if same:
            which = f"task {left[0]} has" if len(left) == 1 else f"tasks {', '.join(left)} have"
            return f"{which} not passed.  What is missing: lab check {lab.id}"
        if self.done(lab):
            date = self.passed_on(lab)
            return f"your lab.py has changed since it passed{date and ' on ' + date}.  Again: lab check {lab.id}"
        if mine.get("hash"):
            return f"your lab.py has changed since it was checked, and had not passed then.  Again: lab check {lab.id}"
        return f"your lab.py was never checked.  Now: lab check {lab.id}"

    def started(self, lab: Lab) -> bool:
        """lab.py is neither the scaffold of today nor the one this learner was given."""
        path = lab.file("lab.py")
        try:
            data = path.read_bytes()
        except OSError:
            return False
        if hashlib.sha256(data).hexdigest() == self._labs.get(lab.id, {}).get("scaffold"):
            return False
        return _text(data) != scaffold.generate(lab)

    def hints(self, lab: Lab, task: Task) -> int:
        """How many of the task's hints were taken."""
        return min(int(self._labs.get(lab.id, {}).get("hints", {}).get(task.name, 0)), len(task.hints))

    def take_hint(self, lab: Lab, task: Task) -> int:
        taken = min(self.hints(lab, task) + 1, len(task.hints))
        self._of(lab)["hints"][task.name] = taken
        self._save()
        return taken

    def given_up(self, lab: Lab) -> list[str]:
        """Tasks whose reference the learner chose to read.  They can still be passed, for all their points."""
        return [t.name for t in lab.tasks if t.name in self._labs.get(lab.id, {}).get("given_up", [])]

    def give_up(self, lab: Lab, task: Task) -> None:
        """From now on, `lab diff` shows the reference of this task."""
        self._of(lab)["given_up"] = [*dict.fromkeys([*self.given_up(lab), task.name])]
        self._save()

    # ---- lab.py: which ones are the learner's

    def note_scaffold(self, lab: Lab) -> None:
        """Remembers the scaffold this learner was given, so that `update` can tell their edits from old versions."""
        path, mine = lab.file("lab.py"), self._labs.get(lab.id, {})
        current = digest(path)
        if current and mine.get("scaffold") != current and not self.started(lab):
            self._of(lab)["scaffold"] = current
            self._save()

    def untouched(self, lab: Lab) -> bool:
        """lab.py is a scaffold as it was given out, of this version of the lab or an earlier one."""
        if not self.started(lab):
            return True
        text = _text(lab.file("lab.py").read_bytes())
        return any(text == old for old in _old_scaffolds(lab))

    def backup(self, lab: Lab) -> Path | None:
        """Keeps lab.py under .lab/backup/ and says where."""
        path = lab.file("lab.py")
        if not path.exists():
            return None
        folder = self.folder / "backup" / lab.id
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() // 10**6 % 1000:03}.py"
        copy.write_bytes(path.read_bytes())
        return copy


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def _valid(data: Any) -> bool:
    """Has the shape that the rest of this module relies on."""
    if not isinstance(data, dict) or not isinstance(data.get("labs"), dict):
        return False
    return all(
        isinstance(v, dict)
        and isinstance(v.get("hash"), str)
        and isinstance(v.get("scaffold"), str)
        and isinstance(v.get("done"), str)
        and isinstance(v.get("passed"), list)
        and isinstance(v.get("given_up", []), list)  # a record of before there was `lab diff` has none
        and isinstance(v.get("passed_on", ""), str)  # nor one of before `--on mine` this
        and isinstance(v.get("hints"), dict)
        and all(type(n) is int for n in v["hints"].values())
        for v in data["labs"].values()
    )


def _old_scaffolds(lab: Lab) -> list[str]:
    """What earlier versions of the lab gave out, as far as git remembers them."""
    source = lab.outline.name

    def git(*words: str) -> str:
        command = ["git", "-C", str(lab.folder), *words]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            return ""

    found = []
    for commit in git("log", "--format=%H", "-n", "50", "--", source).split():
        try:
            text = git("show", f"{commit}:./{source}")
            found.append(text if lab.closed else scaffold.scaffold(text))
        except scaffold.AuthorError:
            continue
    return found
