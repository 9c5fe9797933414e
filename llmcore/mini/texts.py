"""What the small model read: Shakespeare by scenes, and the State of the Union by messages.

Does not:
- clean: stage directions, headings and the spelling of 1790 are as the assets have them
"""

import json
import re
from typing import NamedTuple

from llmcore import assets

HELD_OUT = 20  # every twentieth document of each source is never trained on
_HEADING = re.compile(r"^(?=(?:ACT|SCENE|Scene|Act)\b)", re.MULTILINE)


class Texts(NamedTuple):
    train: dict[str, list[str]]  # source → documents
    held_out: dict[str, list[str]]


def texts() -> Texts:
    """Both sources, split by whole documents. Raises AssetMissing where one has not been fetched."""
    scenes = _HEADING.split(assets.path("shakespeare").read_text(encoding="utf-8"))
    lines = assets.path("sotu").read_text(encoding="utf-8").splitlines()
    sources = {
        "shakespeare": [scene.strip() + "\n" for scene in scenes if len(scene) > 200],  # else a heading alone
        "sotu": [json.loads(line)["text"].strip() + "\n" for line in lines],
    }
    train = {name: [d for k, d in enumerate(all_) if k % HELD_OUT] for name, all_ in sources.items()}
    return Texts(train, {name: all_[::HELD_OUT] for name, all_ in sources.items()})
