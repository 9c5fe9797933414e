"""Five ways to say how alike two vectors are, what each of them cannot see, and what many dimensions do to all of them.

Run:  python lab.py                    # five pictures in artifacts/, and what to see in each
      python lab.py --failures         # for each metric a case in which it picks the wrong neighbour
      python lab.py --invariances      # your probe on your five metrics: the table of the README
      python lab.py --numerics         # the digits that the fast Euclidean formula loses, here and in two libraries
      python lab.py --full             # the pictures from all passages; --full FILE.npy: from embeddings of yours
Does: dot product, cosine, Euclidean, Manhattan, Jaccard, all pairs at once; a probe that finds what a metric ignores;
      maximum inner product search by random hyperplanes (LSH).
Does not: sparse matrices (lab 1.2), learned embeddings (phase 2), indexes that are fast (phase 7).

Shapes: a is (n, d) and b is (m, d), one vector a row; a metric gives (n, m), the value for every pair of rows.
n or m may be 0.  Rows may hold any real type, counts and float16 too; results are float64.  Arguments are not changed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Real

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]


def dot(a: Real[np.ndarray, "n d"], b: Real[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Σ aᵢbᵢ for every pair of rows.

    >>> dot(np.array([[1, 2]]), np.array([[3, 4], [0, 1]])).tolist()
    [[11.0, 2.0]]
    """
    # TODO: one matrix product.  What do uint8 counts do before you ask NumPy for float64?
    raise NotImplementedError("dot")


def normalize(rows: Real[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Every row divided by its own length, √Σ xᵢ².  A row of zeros stays zeros; a NaN stays visible.

    Any other row comes out with length 1, from 1e-100 to 1e100: no small number is added anywhere.

    >>> normalize(np.array([[3, 4], [0, 0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    # TODO: a length for each row, then divide; the row of zeros needs a thought.
    raise NotImplementedError("normalize")


def cosine(a: Real[np.ndarray, "n d"], b: Real[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """The cosine of the angle between every pair of rows, in [-1, 1]; with a row of zeros it is 0.

    >>> cosine(np.array([[2, 0]]), np.array([[5, 0], [0, 1], [0, 0]])).tolist()
    [[1.0, 0.0, 0.0]]
    """
    # TODO: directions first, then dot.  Rounding may leave 1.0000000000000002, and arccos of that is NaN.
    raise NotImplementedError("cosine")


def euclidean(a: Real[np.ndarray, "n d"], b: Real[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """√Σ (aᵢ - bᵢ)² for every pair of rows: right for close rows far from the origin.

    Memory grows with n·m and with m·d, never with n·m·d.

    >>> euclidean(np.array([[0, 0]]), np.array([[3, 4], [0, 0]])).tolist()
    [[5.0, 0.0]]
    """
    # TODO: all differences at once are an (n, m, d) array.  How much of it do you need at a time?
    raise NotImplementedError("euclidean")


def manhattan(a: Real[np.ndarray, "n d"], b: Real[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Σ |aᵢ - bᵢ| for every pair of rows, in memory that does not grow with n·m·d.

    >>> manhattan(np.array([[0, 0]]), np.array([[3, -4], [0, 0]])).tolist()
    [[7.0, 0.0]]
    """
    # TODO: as above; here there is no formula with a matrix product to be tempted by.
    raise NotImplementedError("manhattan")


def jaccard(a: Real[np.ndarray, "n d"], b: Real[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """|A ∩ B| / |A ∪ B|, where the members of a row's set are the places of its non-zero entries, whatever their sign.

    Two empty sets would be 0/0: they are equal, so their similarity is 1.

    >>> jaccard(np.array([[1, 2, 0]]), np.array([[0, -5, 7], [9, 9, 0]])).round(3).tolist()
    [[0.333, 1.0]]
    """
    # TODO: both sizes from one matrix product and two sums.  What is `@` of two boolean arrays?
    raise NotImplementedError("jaccard")


def triangle_gap(distances: Float[np.ndarray, "n n"]) -> float:
    """The largest D[i, k] - (D[i, j] + D[j, k]) over all i, j, k: by how much a detour beats the direct way.

    `D[i, j]` is the way from i to j, which need not be as long as the way back.  i, j and k may be equal.  Not above 0
    (for rounding: 1e-12) if the triangle inequality holds; it may be below 0 where every D[i, i] > 0: staying costs.

    >>> triangle_gap(np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 2.0], [5.0, 2.0, 0.0]]))
    2.0
    """
    # TODO: every way from i to k that goes through one j, for all j.
    raise NotImplementedError("triangle_gap")


CHANGES = ("scale", "shift", "rotate", "permute", "rescale")


def invariances(metric: Metric, seed: int) -> dict[str, bool]:
    """Which changes of the vectors leave *every* value of a metric as it was, found by trying them on random rows.

    scale    each row times a positive factor of its own        shift    the same vector added to all rows of a and b
    rotate   all rows times the same orthogonal (d, d) matrix   permute  all rows' coordinates in the same new order
    rescale  each coordinate times a positive factor of its own: metres become feet, kilograms become pounds

    "As it was" is up to rounding: relative to the metric's largest value, which may be 1e-12 or 1e12.

    >>> invariances(lambda a, b: a @ b.T, seed=0)  # the dot product
    {'scale': False, 'shift': False, 'rotate': True, 'permute': True, 'rescale': False}
    """
    # TODO: draw a and b so that no metric is constant on them (what is the Jaccard of rows without a zero?); change
    #       both in the same way; compare.  The Q of np.linalg.qr of a random matrix is orthogonal.
    raise NotImplementedError("invariances")


def mips_to_cosine(
    items: Real[np.ndarray, "n d"], queries: Real[np.ndarray, "m d"]
) -> tuple[Float[np.ndarray, "n d_plus_1"], Float[np.ndarray, "m d_plus_1"]]:
    """Unit vectors whose cosine ranks items as the dot product did.  Neyshabur & Srebro 2015, "simple-LSH".

    An item x becomes [x/U, √(1 - |x/U|²)], where U is the length of the longest item; a query q becomes [q/|q|, 0].
    Their dot product is q·x / (|q|·U): for one query, q·x up to a constant.  A query of zeros stays zeros; if all
    items are zeros, each becomes [0, …, 0, 1].

    >>> items, queries = mips_to_cosine(np.array([[0, 5], [3, 0]]), np.array([[0, 2]]))
    >>> items.tolist(), queries.tolist()
    ([[0.0, 1.0, 0.0], [0.6, 0.0, 0.8]], [[0.0, 1.0, 0.0]])
    """
    # TODO: one more coordinate.  For the longest item, 1 - |x/U|² can come out as -2e-16.
    raise NotImplementedError("mips_to_cosine")


def sign_bits(rows: Real[np.ndarray, "n d"], bits: int, seed: int) -> Bool[np.ndarray, "n bits"]:
    """On which side of `bits` random hyperplanes through the origin each row lies.  Charikar 2002.

    Two rows at the angle θ differ in a bit with probability θ/π.  The planes depend on d, bits and seed alone, so that
    items hashed today and a query hashed tomorrow meet.

    >>> one, other = sign_bits(np.array([[3, 4], [-6, -8]]), bits=100, seed=0)
    >>> bool((one != other).all())  # opposite rows
    True
    """
    # TODO: a plane is given by its normal.  From which distribution must it come for all directions to be equally likely?
    raise NotImplementedError("sign_bits")


class HyperplaneIndex:
    """Locality-sensitive hashing: `tables` dictionaries from a key of `bits` signs to the items that have it.

    More bits a key: fewer candidates, more misses.  More tables: more candidates, fewer misses.
    """

    def __init__(self, items: Float[np.ndarray, "n d"], bits: int, tables: int, seed: int = 0) -> None:
        self.bits, self.tables, self.seed = bits, tables, seed
        self.buckets: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(tables)]
        for i, keys in enumerate(self._keys(items)):
            for bucket, key in zip(self.buckets, keys):
                bucket[key].append(i)

    def _keys(self, rows: Float[np.ndarray, "n d"]) -> list[list[bytes]]:
        signs = sign_bits(rows, self.bits * self.tables, self.seed).reshape(len(rows), self.tables, self.bits)
        return [[table.tobytes() for table in row] for row in np.packbits(signs, axis=2)]

    def candidates(self, query: Float[np.ndarray, " d"]) -> list[set[int]]:
        """The items that share a key with the query in the first table, in the first two, and so on."""
        found: set[int] = set()
        growing = []
        for bucket, key in zip(self.buckets, self._keys(query[None])[0]):
            found = found.union(bucket.get(key, ()))
            growing.append(found)
        return growing


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Five similarity metrics: pictures of what they do, and cases in which they fail.",
        epilog="Without an option: five pictures in artifacts/, from 3,000 State of the Union passages.",
    )
    parser.add_argument("--failures", action="store_true", help="for each metric a case in which it misleads")
    parser.add_argument("--invariances", action="store_true", help="which changes each metric does not notice")
    parser.add_argument("--numerics", action="store_true", help="digits lost by the expanded Euclidean formula")
    parser.add_argument(
        "--full",
        nargs="?",
        const="",
        metavar="FILE.npy",
        help="all passages, or the (n, d) array of embeddings in a file",
    )
    arguments = parser.parse_args()
    import similarity_report as report

    lab = sys.modules[__name__]
    if arguments.failures:
        report.failures(lab)
    elif arguments.invariances:
        report.table_of_invariances(lab)
    elif arguments.numerics:
        report.numerics(lab)
    else:
        report.pictures(lab, full=arguments.full is not None, file=Path(arguments.full) if arguments.full else None)


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except NotImplementedError as task:
        sys.exit(f"`{task}` is not written yet.  A hint: lab hint 1.3 {task}")
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    except BrokenPipeError:  # python lab.py --failures | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
