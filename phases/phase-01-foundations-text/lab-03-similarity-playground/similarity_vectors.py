"""Vectors to look at: random ones, passages of the State of the Union as sparse counts and as dense vectors, a file.

Does: cut the messages into passages; TF-IDF and truncated SVD (latent semantic analysis) by scikit-learn, as given code:
      lab 1.2 writes TF-IDF itself, phase 2 learns better vectors.
Does not: hold anything to be written.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

WORDS = 40  # a passage is a paragraph of at least so many words


@dataclass
class Passages:
    """Paragraphs and their vectors: row i of each matrix is passage i."""

    names: list[str]  # 1848-Polk-4: year, president, number of his message
    texts: list[str]
    counts: Any  # scipy CSR (n, terms): how often each term stands in each passage
    terms: list[str]
    weights: Any  # scipy CSR (n, terms): TF-IDF, unit rows


def passages(most: int | None = 3000) -> Passages:
    """Different paragraphs of at least 40 words, at most `most` of them, drawn with seed 0.

    Raises llmcore.assets.AssetMissing, with the command that fetches the text.
    """
    from llmcore import assets

    found: dict[str, str] = {}  # text -> name: a paragraph that was read twice counts once
    for line in assets.text("sotu").splitlines():
        message = json.loads(line)
        for paragraph in message["text"].split("\n\n"):
            if len(paragraph.split()) >= WORDS:
                found.setdefault(" ".join(paragraph.split()), message["name"])
    texts = list(found)
    if most is not None and most < len(texts):
        texts = [texts[i] for i in np.sort(np.random.default_rng(0).choice(len(texts), size=most, replace=False))]
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer  # type: ignore[import-untyped]

    counter = CountVectorizer(stop_words="english", min_df=3)
    counts = counter.fit_transform(texts)
    keep = np.flatnonzero(counts.getnnz(axis=1) > 0)
    counts, texts = counts[keep], [texts[i] for i in keep]
    weights = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    return Passages([found[t] for t in texts], texts, counts, list(counter.get_feature_names_out()), weights)


def reduce(matrix: Any, d: int) -> Float[np.ndarray, "n d"]:
    """The d directions in which the rows differ most, those that explain most first (truncated SVD, seed 0)."""
    from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]

    made: np.ndarray = TruncatedSVD(d, random_state=0, n_iter=2).fit_transform(matrix)
    return made


def from_file(path: Path) -> Float[np.ndarray, "n d"]:
    """Embeddings from a .npy file; ends with one line if it does not hold any."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as e:
        sys.exit(f"{path} cannot be read as a .npy file: {e}")
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or len(rows) < 300 or rows.shape[1] < 4:
        sys.exit(
            f"{path} holds {rows.dtype} of shape {rows.shape}; an (n, d) array of numbers is needed, n ≥ 300, d ≥ 4."
        )
    if not np.isfinite(rows).all():
        sys.exit(f"{path} holds NaN or infinite numbers.")
    made: np.ndarray = rows.astype(np.float64)
    return made
