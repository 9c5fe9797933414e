"""Reads Gradescope's submission_metadata.yml: who handed in which folder, and when.

    submission_123:
      :submitters:
      - :name: Ada Lovelace
        :sid: '1815'
        :email: ada@example.com
      :created_at: 2027-02-01 23:58:12.365935000 Z

It is written by Ruby, with symbols for keys and at times with classes of its own as tags.  Only plain values are built.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from labkit.catalog import LabError

LIMIT = 256 << 20  # bytes: it carries what the autograder printed for each student
NESTED = 100


class Submitter(NamedTuple):
    name: str
    sid: str
    email: str


def read(data: bytes) -> dict[str, tuple[list[Submitter], datetime | None]]:
    """Folder → who handed it in, and when (None without a time zone).  Raises LabError for a file that is none."""
    try:
        import yaml
    except ImportError:
        raise LabError("A Gradescope export is read with PyYAML. Run: pip install pyyaml") from None

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one is not always there
        """Plain values, whatever class of Ruby's a tag names."""

    def plain(loader: Any, _: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return node.value

    def time(loader: Any, node: Any) -> Any:
        try:
            return loader.construct_yaml_timestamp(node)
        except ValueError:  # a student's text can look like a date and be none
            return node.value

    Loader.add_multi_constructor("!", plain)
    Loader.add_constructor("tag:yaml.org,2002:timestamp", time)
    try:
        _look(yaml.parse(data, Loader))
        said = yaml.load(data, Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        where = getattr(e, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise LabError(f"submission_metadata.yml{line}: it cannot be read. Export the submissions again.") from None
    if not isinstance(said, dict):
        raise LabError("submission_metadata.yml: it names no submissions. Export them again.")
    return {str(folder): _one(entry) for folder, entry in said.items() if isinstance(entry, dict)}


def _look(events: Iterator[Any]) -> None:
    """Ends the reading of what is nested so deep that the C library behind PyYAML would crash on it."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > NESTED:
            raise ValueError("nested too deep")


def _one(entry: dict[Any, Any]) -> tuple[list[Submitter], datetime | None]:
    people = [p for p in entry.get(":submitters") or [] if isinstance(p, dict)]
    when = entry.get(":created_at")
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            when = None
    zoned = isinstance(when, datetime) and when.tzinfo is not None
    return [Submitter(*(_text(p.get(k)) for k in (":name", ":sid", ":email"))) for p in people], when if zoned else None


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
