"""The files of a new lab, as `lab new` writes them.  @ID@, @TITLE@ and @QUOTED@ (the title inside quotes) are filled in."""

PHASE = """# Phase {number} · {name}

<!-- One or two sentences: what the labs of this phase build, and what every later phase takes from it. -->

| lab | you build |
|---|---|
"""

LAB_TOML = """# TODO (author): everything here but `id` describes the example; make it describe your lab.
id = "@ID@"
title = "@QUOTED@"
why = "A raw loss curve is mostly noise: what you conclude from it depends on how it was smoothed."
difficulty = 1
minutes = 20
concepts = ["exponential moving average", "bias correction"]
needs = []
extras = []

[[task]]
name = "smooth"
points = 2
hints = [
  "One running number is enough: each new loss moves it a little.",
  "average = keep * average + (1 - keep) * loss starts at 0, so the first values are far too small. By which factor?",
  "after t losses the weights sum to 1 - keep**t;  append(average / (1 - keep**t))",
]
"""

README = """# @ID@ @TITLE@

**What does a loss curve say once its noise is taken out, and what does the smoothing add of its own?**
You write the exponential moving average that training logs draw, with the correction that makes its start right.

<!-- TODO (author): the question this lab answers, in two lines. If you cannot write them, the lab is not ready.
     Every section below stays, in this order; `lab verify` looks for them. Replace what stands in them. -->

## What you build

<!-- The command, and the output it really printed. -->

```
$ lab check @ID@
$ python lab.py
raw:      8.0  6.0  7.0  4.0  5.0
smoothed: 8.00 6.86 6.92 5.85 5.57
```

## The idea

<!-- Derivations, with a picture where one helps. Numbers by hand before formulas. -->

With `keep` = 0.75 the losses 8 and 6 weigh 0.75 · 0.25 and 0.25. The weights sum to 0.4375, not to 1, so what the
running number holds, 3, has to be divided by that: 6.86. After t losses the weights sum to 1 − keepᵗ.

## Shapes and complexity

n losses: n steps, n numbers out; one number of memory beside them.

## Tasks

1. `smooth` (2): the corrected average after each loss.

## Common mistakes

<!-- Each of these is a function in mistakes.py, so that the checker can name it. -->

No correction, so the curve starts near 0 · `keep` and 1 − `keep` exchanged · the first loss taken for the average.

## From lab to library

<!-- What llmcore does differently, and what that buys, in numbers. -->

## Full mode

<!-- Real data, a GPU, a flag. -->

## Interview questions

<!-- Questions and answers. -->

**Why divide by 1 − keepᵗ?** Because the weights of the first t values sum to that: the start at 0 has the rest.

## Résumé line

<!-- With the reader's own numbers to fill in. -->

## Extensions

<!-- What a reader could do next. -->

## References

- Kingma and Ba 2015, *Adam: A Method for Stochastic Optimization*, section 3: the same correction.
"""

SOLUTION = '''"""Smoothing a loss curve.

Prints one as it was logged, then smoothed:

    python solution.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

### BEGIN SOLUTION
# TODO (author): replace the example.  This file is the only source: `make scaffolds` writes lab.py from it, without what
# stands between the markers, as this comment does.
### END SOLUTION


def smooth(losses: Sequence[float], keep: float) -> list[float]:
    """The exponential moving average after each loss: the newest weighs 1, the one before `keep`, then `keep`² and so on.

    0 <= keep < 1.  The weights are divided by their sum, so equal losses give the same number again.
    Source: Kingma and Ba 2015, section 3.

    >>> smooth([4.0, 8.0], keep=0.5)
    [4.0, 6.666666666666667]
    """
    # TODO: one running average, corrected for its start at 0.
    ### BEGIN SOLUTION
    average, out = 0.0, []
    for t, loss in enumerate(losses, start=1):
        average = keep * average + (1 - keep) * loss
        out.append(average / (1 - keep**t))
    return out
    ### END SOLUTION


def main() -> None:
    """The command line."""
    losses = [8.0, 6.0, 7.0, 4.0, 5.0]
    print("raw:      " + "  ".join(f"{x:.1f}" for x in losses))
    print("smoothed: " + " ".join(f"{x:.2f}" for x in smooth(losses, keep=0.75)))


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint @ID@ {task}")
'''

TEST_LAB = '''"""What lab @ID@ must do.  The same file judges lab.py, solution.py and every submission.

TODO (author): write the oracle first, slow, obvious, and another way than the solution.  Sizes and values come from
`random` (a seeded random.Random) or `rng` (a seeded torch.Generator); never test at a default value.
"""

from labkit.spec import check, task


def weighted(losses, keep):
    """By the definition: a weighted mean over all losses so far, for each of them anew."""
    out = []
    for t in range(1, len(losses) + 1):
        weights = [keep ** (t - 1 - i) for i in range(t)]
        out.append(sum(w * x for w, x in zip(weights, losses, strict=False)) / sum(weights))
    return out


@task("smooth")
def test_the_weighted_mean_of_the_definition(lab, random):
    losses = [random.uniform(1, 9) for _ in range(random.randint(5, 12))]
    keep = random.uniform(0.6, 0.9)
    check.close(lab.smooth(losses, keep), weighted(losses, keep), why=f"{len(losses)} losses")


@task("smooth")
def test_equal_losses_give_that_loss(lab, random):
    loss = random.uniform(2, 9)
    check.close(lab.smooth([loss] * 7, 0.8), [loss] * 7, why="seven equal losses")


@task("smooth")
def test_the_edges(lab):
    check.equal(lab.smooth([], 0.7), [], why="no loss at all")
    check.close(lab.smooth([3.0, -5.0], 0), [3.0, -5.0], why="nothing kept: the losses themselves")
'''

MISTAKES = '''"""What people really get wrong in lab @ID@.  Each replaces one function of solution.py, and its task must catch it.

TODO (author): everything your README calls a mistake, everything you have got wrong yourself.  A good mistake is one
thing, that somebody really does, and that survives rewording.
"""

import itertools

from labkit.spec import alike, mistake


@mistake("smooth", says="The average starts at 0 and is not corrected for it: divide by 1 - keep**t after t losses.")
def no_correction(losses, keep):
    average, out = 0.0, []
    for loss in losses:
        average = keep * average + (1 - keep) * loss
        out.append(average)
    return out


@alike("no_correction")
def accumulated(losses, keep):
    return list(itertools.accumulate(losses, lambda a, x: a + (x - a) * (1 - keep), initial=0.0))[1:]


@mistake("smooth", says="`keep` weighs the new loss instead of the old average: the two are exchanged.")
def exchanged(losses, keep):
    average, out = 0.0, []
    for t, loss in enumerate(losses, start=1):
        average = (1 - keep) * average + keep * loss
        out.append(average / (1 - (1 - keep) ** t))
    return out


@mistake("smooth", says="The average starts at the first loss, which then weighs more than any other for a long time.")
def starts_at_the_first(losses, keep):
    out = []
    for loss in losses:
        out.append(keep * out[-1] + (1 - keep) * loss if out else loss)
    return out
'''

EQUIVALENTS = '''"""Correct answers written differently.  The spec must accept each on every seed: it is a learner who is right.

TODO (author): two or more for each task, as unlike the solution as you can make them.
"""

from labkit.spec import equivalent


@equivalent("smooth")
def numerator_and_denominator(losses, keep):
    top = bottom = 0.0
    out = []
    for loss in losses:
        top, bottom = keep * top + loss, keep * bottom + 1
        out.append(top / bottom)
    return out


@equivalent("smooth")
def each_from_all(losses, keep):
    def mean(part):
        weights = [keep**age for age in range(len(part))]
        return sum(w * x for w, x in zip(weights, reversed(part), strict=True)) / sum(weights)

    return [mean(list(losses[: t + 1])) for t in range(len(losses))]
'''

FILES = {
    "lab.toml": LAB_TOML,
    "README.md": README,
    "solution.py": SOLUTION,
    "test_lab.py": TEST_LAB,
    "mistakes.py": MISTAKES,
    "equivalents.py": EQUIVALENTS,
}
