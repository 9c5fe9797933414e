"""`python -m benchmarks [AREA]`: measure, print, keep the result. Exits with 1 when a goal is clearly missed."""

import os

# One thread, for a clock that adds up threads. Libraries read this when they are imported.
os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler would talk of itself

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.timing import SLACK
from labkit.catalog import LabError
from llmcore.assets import AssetError

AREAS = {
    "bpe": "BPE: encoding and training, beside tiktoken, tokenizers and rustbpe",
    "decode": "decoding, beside transformers and llama.cpp",
    "grade": "grading a class, beside pytest, nbgrader and Otter",
    "train": "a training step, beside nanoGPT and transformers",
    "word2vec": "skip-gram, its speed and its vectors beside gensim's",
}
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure speed beside that of named peers: one process, one thread, CPU time, taking turns.",
        epilog=f"Exits with 1 when a ratio is below {SLACK:g} of its goal, with 2 when something is not installed.",
    )
    what = "; ".join(f"{name} ({says})" for name, says in AREAS.items())
    parser.add_argument("area", nargs="*", metavar="AREA", help=f"all of them unless named: {what}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case is timed (default: 5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for AREA.json and AREA.md")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    for name in arguments.area:
        if name not in AREAS:
            parser.error(f"no area is called {name!r}; there are: {', '.join(AREAS)}")
    missed = 0
    for name in arguments.area or AREAS:
        try:
            area = importlib.import_module(f"benchmarks.{name}")
            result = area.measure(arguments.rounds)
        except ImportError as error:
            print(f"error: {error.name} is missing; `pip install -e '.[bench]'` installs the peers", file=sys.stderr)
            return 2
        except (AssetError, LabError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\nstopped; nothing was kept", file=sys.stderr)
            return 130
        page = report.markdown(result)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        (arguments.out / f"{name}.md").write_text(page, "utf-8")
        print(page)
        verdicts = [*result["goals"], *([result["quality"]] if "quality" in result else [])]
        missed += sum(goal["verdict"] == "missed" for goal in verdicts)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
