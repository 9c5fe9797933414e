"""Who may have worked together: pairs of files worth a look, and how often chance alone would make such a pair.

Two things count, and each must be rarer than chance by itself.
Text: the shingles (see `tokens`) that two files share and the public solution does not have.  How alike two students'
answers to a task are by chance is what the class's other pairs show, with the measured prior below for small classes.
Mistakes: two files that fail a task in the same way where few who fail do.

A hint is given where the number of such pairs that chance would put into the whole class, over all labs, is at most
LEVEL.  It says where to look and never what happened: the texts may have one source that nobody here wrote.
What many students share comes from a common source (a lecture, a forum, an assistant) and makes no hint.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations

from labkit.catalog import Lab
from labkit.grading.rarity import LEAST, Base, Pair, combined
from labkit.grading.records import Class, Verdict
from labkit.grading.tokens import Reader, Shingles

LEVEL = 0.05  # pairs by chance in a class in which everybody works alone
FLOOR = 12  # shingles of one's own in a task; with fewer, everybody writes the same
ALIKE = 0.5  # Dice coefficient; what is less alike is never followed up


@dataclass(frozen=True)
class Hint:
    """Files to look at side by side.  `chance`: how many such pairs a class that works alone would show."""

    students: tuple[str, ...]
    lab: str
    tasks: list[str]
    kind: str  # text | mistakes | both
    chance: float  # expected number of pairs as rare in this class, over all labs; at most LEVEL
    likeness: float  # the largest Dice coefficient over the tasks, 0 to 1, beyond the solution; 0 without text
    says: str


@dataclass
class Work:
    """How much was compared, for tests: it grows with what is shared, not with the square of the class."""

    pairs: int = 0


def hints(
    klass: Class, verdicts: dict[tuple[str, str], Verdict], labs: list[Lab], work: Work | None = None
) -> list[Hint]:
    """Groups of students whose files for a lab are worth a look, rarest first.

    verdicts: by (student, lab id), as `Verdict.behaviour` says how a task failed; without them only text counts.
    A file that Python cannot parse says nothing about text.
    """
    work = work or Work()
    found: list[Hint] = []
    handed_in = {lab.id: [t for t in klass.turned if t.lab == lab.id] for lab in labs}
    graded = sum(len(turned) > 1 for turned in handed_in.values())
    for lab in labs:
        if len(turned := handed_in[lab.id]) < 2:
            continue
        names = sorted({t.student for t in turned})
        tried = math.comb(len(names), 2) * graded * 2  # text and mistakes
        texts = _own(lab, {t.student: t.data for t in turned})
        alike = _text(lab, texts, many(len(names)), work)
        wrong = _mistakes(lab, {s: v for s in names if (v := verdicts.get((s, lab.id)))}, many(len(names)), work)
        found += _groups(lab, alike, wrong, tried)
    return sorted(found, key=lambda h: (h.chance, h.lab, h.students))


def solution_share(klass: Class, labs: list[Lab]) -> dict[tuple[str, str], float]:
    """(student, lab id) → the share of what was written that stands in the public solution too, 0 to 1.

    The solution is public, so under practice credit a high share is expected.  Files with nothing to read are left out.
    """
    found = {}
    for lab in labs:
        reader = Reader(lab)
        public = reader.read(reader.solution.encode())
        for t in klass.turned:
            if t.lab == lab.id:
                read = reader.read(t.data)
                if written := sum(map(len, read.values())):
                    found[t.student, lab.id] = sum(len(read[task] & public[task]) for task in read) / written
    return found


def many(students: int) -> int:
    """What more students than this share is common knowledge."""
    return max(10, students * 3 // 100)


def _own(lab: Lab, files: dict[str, bytes]) -> dict[str, dict[str, Shingles]]:
    """Task → student → what they wrote that the public solution does not have."""
    reader = Reader(lab)
    public = reader.read(reader.solution.encode())
    known: dict[bytes, dict[str, Shingles]] = {}
    for data in files.values():
        if data not in known:
            known[data] = reader.read(data)
    return {t.name: {s: known[d][t.name] - public[t.name] for s, d in files.items() if known[d]} for t in lab.tasks}


Evidence = dict[Pair, dict[str, tuple[float, float]]]  # pair → task → chance, likeness


def _text(lab: Lab, texts: dict[str, dict[str, Shingles]], most: int, work: Work) -> Evidence:
    chances: Evidence = defaultdict(dict)
    written: dict[str, dict[str, Shingles]] = {}
    for task in lab.tasks:
        seen = Counter(s for text in texts[task.name].values() for s in text)
        rare = {name: frozenset(s for s in text if seen[s] <= most) for name, text in sorted(texts[task.name].items())}
        written[task.name] = rare = {name: text for name, text in rare.items() if len(text) >= FLOOR}
        base = Base(rare)
        for pair, shared in _shared(rare, work).items():
            likeness = 2 * shared / (len(rare[pair[0]]) + len(rare[pair[1]]))
            if likeness >= ALIKE:
                chances[pair][task.name] = base.chance(pair, likeness), likeness
    for (a, b), tasks in chances.items():
        for name, answers in written.items():
            if a in answers and b in answers:
                tasks.setdefault(name, (1.0, 0.0))
    return chances


def _shared(texts: dict[str, Shingles], work: Work) -> Counter[Pair]:
    """How many shingles each pair shares, by an index: pairs that share nothing are never met."""
    index: dict[int, list[str]] = defaultdict(list)
    for name, text in texts.items():
        for shingle in text:
            index[shingle].append(name)
    shared: Counter[Pair] = Counter()
    for names in index.values():
        work.pairs += math.comb(len(names), 2)
        shared.update(combinations(names, 2))
    return shared


def _mistakes(lab: Lab, verdicts: dict[str, Verdict], most: int, work: Work) -> Evidence:
    """Shared ways to fail.

    The chance that a given two of F who failed a task share a way that is at most as common as theirs, when the ways
    are dealt out among the F at random, is the sum of c(c - 1) / F(F - 1) over the ways that at most as many (c) show.
    It is exact given the counts (hypergeometric).  That somebody failed at all is no evidence.
    """
    ways: dict[str, dict[str, str]] = {}
    for name, verdict in sorted(verdicts.items()):
        for t in verdict.tasks:
            if t.status in ("wrong", "crashed", "slow") and (way := t.behaviour or t.mistake):
                ways.setdefault(t.task, {})[name] = way
    chances: Evidence = defaultdict(dict)
    for task, failed in ways.items():
        groups: dict[str, list[str]] = defaultdict(list)
        for name, way in failed.items():
            groups[way].append(name)
        sizes = Counter(len(g) for g in groups.values())
        everybody = len(failed) * (len(failed) - 1)
        for group in groups.values():
            if not 2 <= len(group) <= most:
                continue
            p = sum(k * c * (c - 1) for c, k in sizes.items() if c <= len(group)) / everybody
            for pair in combinations(group, 2):
                work.pairs += 1
                chances[pair][task] = max(LEAST, p), 0.0
    for (a, b), tasks in chances.items():
        for task, failed in ways.items():
            if a in failed and b in failed:
                tasks.setdefault(task, (1.0, 0.0))
    return chances


def _groups(lab: Lab, alike: Evidence, wrong: Evidence, tried: int) -> list[Hint]:
    """Pairs that are rare enough, joined where they overlap."""
    rare: dict[Pair, tuple[float, bool, bool, float, set[str]]] = {}
    for pair in {*alike, *wrong}:
        expected = [tried * combined([p for p, _ in e.get(pair, {}).values()]) for e in (alike, wrong)]
        text, mistakes = (x <= LEVEL for x in expected)
        if text or mistakes:
            used = [e[pair] for e, kept in ((alike, text), (wrong, mistakes)) if kept]
            tasks = {t for e in used for t, (p, _) in e.items() if p < LEVEL}
            likeness = max((x for _, x in alike[pair].values()), default=0.0) if text else 0.0
            rare[pair] = min(expected), text, mistakes, likeness, tasks
    groups: list[set[str]] = []
    for pair in sorted(rare):
        near = [g for g in groups if g & {*pair}]
        groups = [g for g in groups if g not in near] + [{*pair}.union(*near)]
    return [_hint(lab, group, [e for pair, e in rare.items() if group >= {*pair}]) for group in groups]


def _hint(lab: Lab, group: set[str], pairs: list[tuple[float, bool, bool, float, set[str]]]) -> Hint:
    chance = max(p[0] for p in pairs)
    text, mistakes = any(p[1] for p in pairs), any(p[2] for p in pairs)
    tasks = [t.name for t in lab.tasks if any(t.name in p[4] for p in pairs)]
    kind = "both" if text and mistakes else "text" if text else "mistakes"
    what = {
        "text": "are written alike beyond what the solution explains",
        "mistakes": "fail in the same unusual way",
        "both": "are written alike and fail in the same unusual way",
    }[kind]
    says = (
        f"Look at these {len(group)} side by side: {', '.join(tasks)} of lab {lab.id} {what}; a class that works alone "
        f"would show {chance:.1g} such pairs or fewer. There may be a reason that nobody here can see."
    )
    return Hint(tuple(sorted(group)), lab.id, tasks, kind, chance, max(p[3] for p in pairs), says)
