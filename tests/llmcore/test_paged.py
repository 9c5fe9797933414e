"""The block pool against a dict of lists, and models on it against themselves without it."""

import math
import zlib

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llmcore.cache.base import PADDING
from llmcore.cache.blocks import BlockPool, OutOfBlocks, PagedSequence, check
from llmcore.cache.paged import PagedCache
from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.speculative import speculate
from llmcore.sampling.strategies import Sampling, beam_search, contrastive_search, generate

V, LAYERS, HEADS, DIM = 31, 2, 2, 3


def written(ids: list[int], layer: int, which: int) -> torch.Tensor:
    """Keys (which = 0) or values (1) of the last of these ids: they depend on all ids before it, as a model's do."""
    generator = torch.Generator().manual_seed(zlib.crc32(repr((ids, layer, which)).encode()))
    return torch.randn(HEADS, DIM, generator=generator)


def step(cache: PagedCache, rows: list[list[int]], places: list[list[int]], width: int, layers: int = LAYERS) -> None:
    """One forward pass of a model that only remembers: rows[i] stand at places[i] of a row, NaN is in all others."""
    past = [list(s.ids) for s in cache.sequences]
    ids, positions = torch.full((2, len(rows), width), PADDING)
    new = torch.full((2, LAYERS, len(rows), HEADS, width, DIM), math.nan)
    for i, (row, at) in enumerate(zip(rows, places, strict=True)):
        for j, (token, place) in enumerate(zip(row, at, strict=True)):
            ids[i, place], positions[i, place] = token, len(past[i]) + j
            for layer in range(LAYERS):
                for which in range(2):
                    new[which, layer, i, :, place] = written(past[i] + row[: j + 1], layer, which)
    everyone = all(len(row) == width for row in rows)
    begun = cache.begin(ids, None if everyone else positions)
    assert begun.positions.tolist() == positions.tolist()
    assert begun.plain == (everyone and len({len(p) for p in past}) == 1)
    total = [p + row for p, row in zip(past, rows, strict=True)]
    length = max(1, *map(len, total))
    if not begun.plain or width:
        assert begun.keys.tolist() == [[i if i < len(t) else PADDING for i in range(length)] for t in total]
    for layer in range(layers):
        got = begun.layers[layer].append(new[0, layer], new[1, layer])
        for which in range(2):
            assert got[which].shape == (len(rows), HEADS, length, DIM)
            for i, t in enumerate(total):
                if t:
                    assert got[which][i].isfinite().all()
                for j in range(len(t)):
                    assert got[which][i, :, j].equal(written(t[: j + 1], layer, which))


def read(pool: BlockPool, *rows: tuple[PagedSequence, list[int]]) -> None:
    """A whole step: each sequence reads its ids, padded on the left."""
    width = max(len(ids) for _, ids in rows)
    cache = PagedCache(pool, [s for s, _ in rows])
    step(cache, [ids for _, ids in rows], [list(range(width - len(ids), width)) for _, ids in rows], width)
    cache.commit()


def pool_of(n_blocks: int, block_size: int) -> BlockPool:
    return BlockPool(LAYERS, n_blocks, block_size, HEADS, DIM)


def state(pool: BlockPool, *sequences: PagedSequence) -> object:
    """Everything that a refused step must leave as it was."""
    bookkeeping = (list(pool.references), list(pool._free), dict(pool._keys), dict(pool._sealed))
    return bookkeeping, pool.memory.nan_to_num(7.0).tolist(), [(list(s.ids), list(s.table)) for s in sequences]


class Machine(RuleBasedStateMachine):
    """Anything that can be done to a pool, in any order; `texts` is what it should hold."""

    @initialize(n_blocks=st.integers(1, 14), block_size=st.integers(1, 3))
    def begin(self, n_blocks: int, block_size: int) -> None:
        self.pool, self.size = pool_of(n_blocks, block_size), block_size
        self.texts: dict[PagedSequence, list[int]] = {}

    def some(self, data: st.DataObject, most: int) -> list[PagedSequence]:
        everyone = st.lists(st.sampled_from(list(self.texts)), min_size=1, max_size=most, unique_by=id)
        return data.draw(everyone, label="sequences")

    @precondition(lambda self: len(self.texts) < 5)
    @rule(prompt=st.lists(st.integers(0, 1), max_size=12))
    def open(self, prompt: list[int]) -> None:
        whole = (len(prompt) - 1) // self.size * self.size if prompt else 0
        held = 0  # what is in use must be found; what was freed may be gone
        for text in self.texts.values():
            same = next((i for i, (a, b) in enumerate(zip(text, prompt, strict=False)) if a != b), None)
            same = min(len(text), len(prompt)) if same is None else same
            held = max(held, same // self.size * self.size)
        sequence = self.pool.open(prompt)
        assert sequence.length % self.size == 0
        assert min(held, whole) <= sequence.length <= whole
        self.texts[sequence] = prompt[: sequence.length]

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        sequences = self.some(data, 4)
        width = data.draw(st.integers(0, 5), label="width")
        places = st.lists(st.integers(0, width - 1), unique=True).map(sorted) if width else st.just([])
        where = [data.draw(places, label="places") for _ in sequences]
        if data.draw(st.booleans(), label="all alike"):
            where = [list(range(width))] * len(sequences)
        rows = [[data.draw(st.integers(0, 1)) for _ in at] for at in where]
        cache = PagedCache(self.pool, sequences)
        if not self.fits(sequences, rows):
            before = state(self.pool, *self.texts)
            with pytest.raises(OutOfBlocks):
                step(cache, rows, where, width)
            assert state(self.pool, *self.texts) == before
            return
        step(cache, rows, where, width)
        cache.commit()
        for s, row in zip(sequences, rows, strict=True):
            self.texts[s] = self.texts[s] + row
            if row:  # what was written into is this row's alone, or will never be written again
                assert self.pool.references[s.table[-1]] == 1 or s.table[-1] in self.pool._keys

    @precondition(lambda self: 0 < len(self.texts) < 5)
    @rule(data=st.data())
    def part(self, data: st.DataObject) -> None:
        """A fork, and each of the two reads something else: first one, then the other."""
        (one,) = self.some(data, 1)
        two = self.pool.fork(one)
        self.texts[two] = list(self.texts[one])
        for s, token in ((one, 0), (two, 1)):
            if self.fits([s], [[token]]):
                read(self.pool, (s, [token]))
                self.texts[s] = [*self.texts[s], token]

    def fits(self, sequences: list[PagedSequence], rows: list[list[int]]) -> bool:
        """Whether the blocks that would be in use afterwards, counted one by one, are at most as many as there are."""
        tables: dict[PagedSequence, list[object]] = {s: list(s.table) for s in self.texts}
        for s, row in zip(sequences, rows, strict=True):
            if row and s.length % self.size and sum(tables[s][-1] in table for table in tables.values()) > 1:
                tables[s][-1] = object()
            while len(tables[s]) * self.size < s.length + len(row):
                tables[s].append(object())
        return len({block for table in tables.values() for block in table}) <= len(self.pool.references)

    @precondition(lambda self: 0 < len(self.texts) < 5)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        (sequence,) = self.some(data, 1)
        free = self.pool.n_free
        self.texts[self.pool.fork(sequence)] = list(self.texts[sequence])
        assert self.pool.n_free == free

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        (sequence,) = self.some(data, 1)
        length = data.draw(st.integers(0, sequence.length), label="length")
        self.pool.truncate(sequence, length)
        self.texts[sequence] = self.texts[sequence][:length]

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def truncate_all(self, data: st.DataObject) -> None:
        cache = PagedCache(self.pool, self.some(data, 4))
        less = data.draw(st.integers(0, cache.length), label="less")
        cache.truncate(cache.length - less)
        for s in cache.sequences:
            self.texts[s] = self.texts[s][: max(0, len(self.texts[s]) - less)]

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def select(self, data: st.DataObject) -> None:
        sequences = self.some(data, 4)
        rows = [data.draw(st.integers(0, len(sequences) - 1), label="row") for _ in sequences]
        PagedCache(self.pool, sequences).select(torch.tensor(rows))
        chosen = [self.texts[sequences[row]] for row in rows]
        for s, text in zip(sequences, chosen, strict=True):
            self.texts[s] = list(text)

    @precondition(lambda self: self.texts)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        (sequence,) = self.some(data, 1)
        self.pool.free(sequence)
        assert (sequence.ids, sequence.table) == ([], [])
        del self.texts[sequence]

    @rule()
    def poison(self) -> None:
        """What lies in a block that nobody has, and nobody can find, must not matter."""
        for block in self.pool._free:
            if block not in self.pool._keys:
                self.pool.memory[:, :, block] = math.nan

    @invariant()
    def everything_holds(self) -> None:
        check(self.pool, list(self.texts))
        for s, text in self.texts.items():
            assert s.ids == text
            assert 0 <= len(s.table) * self.size - s.length < self.size  # the waste, in tokens
            for i in range(len(text)):
                held = self.pool.memory[:, :, s.table[i // self.size], i % self.size]
                for layer in range(LAYERS):
                    for which in range(2):
                        assert held[which, layer].equal(written(text[: i + 1], layer, which))

    def teardown(self) -> None:
        for s in self.texts:
            self.pool.free(s)
        check(self.pool, [])
        assert self.pool.n_free == len(self.pool.references)


Machine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMachine = Machine.TestCase


# prefixes


def test_a_prompt_begins_with_the_whole_blocks_that_are_known_but_for_its_last_token():
    pool = pool_of(9, 3)
    a = pool.open([1, 2, 3, 4, 5, 6, 7])
    assert (a.ids, a.table) == ([], [])
    read(pool, (a, [1, 2, 3, 4, 5, 6, 7]))
    known = [([1, 2, 3, 4, 5, 6, 7], 6), ([1, 2, 3, 4, 5, 6], 3), ([1, 2, 3, 4, 5, 9, 9], 3), ([1, 2, 3], 0)]
    known += [([1, 2, 3, 9], 3), ([4, 5, 6, 7], 0), ([1, 2], 0), ([9, 2, 3, 4, 5, 6, 7], 0), ([], 0)]
    for prompt, length in known:
        b = pool.open(prompt)
        assert (b.ids, b.table) == (prompt[:length], a.table[: length // 3])
        pool.free(b)
    check(pool, [a])


def test_a_block_is_known_by_all_that_comes_before_it():
    pool = pool_of(9, 2)
    a, b = pool.open(), pool.open()
    read(pool, (a, [1, 1, 5, 5, 6, 6]), (b, [2, 2]))
    assert pool.open([2, 2, 5, 5, 6, 6, 0]).length == 2
    assert pool.open([5, 5, 6, 6, 0]).length == 0


def test_equal_hashes_are_not_taken_for_equal_texts():
    one, other = [0, 0], [2**61 - 1, 0]
    assert hash(tuple(one)) == hash(tuple(other))
    pool = pool_of(4, 2)
    a = pool.open()
    read(pool, (a, [*one, 1]))
    assert pool.open([*other, 1]).length == 0
    assert pool.open([*one, 1]).length == 2


def test_the_same_text_read_twice_is_held_once():
    pool = pool_of(6, 2)
    a, b = pool.open(), pool.open()
    read(pool, (a, [1, 2, 3, 4, 5]), (b, [1, 2, 3, 4, 6]))
    assert a.table[:2] == b.table[:2]
    assert a.table[2] != b.table[2]
    assert pool.n_free == 2
    check(pool, [a, b])


@pytest.mark.parametrize(("taken", "found"), [(0, (4, 2)), (2, (4, 2)), (3, (2, 2)), (4, (2, 0)), (5, (0, 0))], ids=str)
def test_freed_blocks_are_found_until_they_are_needed_the_least_recently_used_first(taken, found):
    pool = pool_of(5, 2)
    a, b = pool.open(), pool.open()
    read(pool, (a, [1, 1, 2, 2]), (b, [3, 3]))
    pool.free(a)
    pool.free(b)
    pool.free(pool.open([1, 1, 9]))  # a's first block is used again, and so goes last; its second went before it anyhow
    read(pool, (pool.open(), list(range(10, 10 + 2 * taken))))  # two blocks are blank: they go first
    assert (pool.open([1, 1, 2, 2, 0]).length, pool.open([3, 3, 0]).length) == found


def test_a_text_is_forgotten_from_its_end():
    pool = pool_of(4, 2)
    a = pool.open()
    read(pool, (a, [1, 1, 2, 2, 3, 3]))
    pool.free(a)
    read(pool, (pool.open(), [9, 9, 9]))  # the blank block and one more
    assert pool.open([1, 1, 2, 2, 3, 3, 0]).length == 4


# copies


def test_forks_share_until_one_of_them_writes():
    pool = pool_of(8, 4)
    a = pool.open()
    read(pool, (a, [1, 2, 3, 4, 5, 6]))
    b, c = pool.fork(a), pool.fork(a)
    assert pool.n_free == 6
    assert pool.references[a.table[0]] == pool.references[a.table[1]] == 3
    read(pool, (b, [7]))
    assert pool.n_free == 5
    assert a.table == c.table
    assert b.table[0] == a.table[0]
    assert b.table[1] != a.table[1]
    read(pool, (a, [8]), (c, [9]))  # two that share a block need one more, not two
    assert pool.n_free == 4
    assert [s.ids[4:] for s in (a, b, c)] == [[5, 6, 8], [5, 6, 7], [5, 6, 9]]
    check(pool, [a, b, c])


def test_a_fork_that_reads_a_new_block_copies_nothing():
    pool = pool_of(4, 2)
    a = pool.open()
    read(pool, (a, [1, 2]))
    b = pool.fork(a)
    read(pool, (b, [3]))
    assert a.table == b.table[:1]
    assert pool.n_free == 2


def test_a_sealed_block_is_never_written_again():
    pool = pool_of(4, 3)
    a = pool.open()
    read(pool, (a, [1, 2, 3, 4]))
    pool.truncate(a, 2)
    read(pool, (a, [7, 8]))
    assert a.ids == [1, 2, 7, 8]
    assert pool.open([1, 2, 3, 0]).length == 3


def test_a_pool_that_is_full_to_the_last_block_still_lets_a_draft_be_refused():
    pool = pool_of(2, 3)
    a = pool.open()
    read(pool, (a, [1, 2, 3, 4, 5, 6]))
    pool.truncate(a, 5)  # into a sealed block: what is written next needs a copy of it, and there is no other block
    read(pool, (a, [9]))
    pool.truncate(a, 1)
    read(pool, (a, [8, 8, 8, 8]))
    assert a.ids == [1, 8, 8, 8, 8]
    check(pool, [a])


# too few blocks, and other mistakes


def test_out_of_blocks_says_what_is_missing_and_changes_nothing():
    pool = pool_of(4, 2)
    a, b = pool.open(), pool.open()
    read(pool, (a, [1, 2, 3]), (b, [5]))
    before = state(pool, a, b)
    with pytest.raises(OutOfBlocks, match=r"2 more blocks of 2 tokens .* \(of 4, 1 are\)"):
        read(pool, (a, [4, 4, 4]), (b, [6, 6, 6, 6]))
    assert state(pool, a, b) == before
    assert pool.missing([a, b], [3, 4]) == 2
    assert pool.missing([a, b], [3, 1]) == 0
    pool.truncate(a, 1)
    read(pool, (b, [6, 6, 6, 6]))
    check(pool, [a, b])


def test_a_copy_needs_a_block_too():
    pool = pool_of(3, 2)
    a = pool.open()
    read(pool, (a, [1, 2, 3]))
    b, c = pool.fork(a), pool.fork(a)
    assert [pool.missing(some, [1] * len(some)) for some in ([a], [a, b], [a, b, c])] == [0, 1, 1]
    before = state(pool, a, b, c)
    with pytest.raises(OutOfBlocks, match="1 more blocks"):
        read(pool, (a, [4]), (b, [5]))
    assert state(pool, a, b, c) == before
    pool.free(c)
    read(pool, (a, [4]), (b, [5]))  # one copy, and the other keeps what it has
    check(pool, [a, b])


def test_what_a_batch_cannot_read_is_refused_and_changes_nothing():
    pool = pool_of(6, 2)
    a, b = pool.open(), pool.open()
    read(pool, (a, [1, 2, 3]), (b, [5]))
    before, two = state(pool, a, b), torch.zeros(2, 2, dtype=torch.long)
    cases = [
        ([a], None, "1 sequences, and 2 rows"),
        ([a, a], None, "in two rows: fork it"),
        ([a, b], [[3, 4], [2, 3]], r"of 1 tokens goes on at position 1, and \[2, 3\]"),
        ([a, b], [[3, 5], [1, 2]], r"of 3 tokens goes on at position 3, and \[3, 5\]"),
        ([a, b], [[4, 3], [1, 2]], r"of 3 tokens goes on at position 3, and \[4, 3\]"),
    ]
    for sequences, positions, message in cases:
        with pytest.raises(ValueError, match=message):
            PagedCache(pool, sequences).begin(two, positions and torch.tensor(positions))
        assert state(pool, a, b) == before
    with pytest.raises(ValueError, match="cannot keep 4 tokens of 3"):
        pool.truncate(a, 4)
    with pytest.raises(ValueError, match="cannot keep -1 tokens of 3"):
        PagedCache(pool, [a, b]).truncate(-1)
    with pytest.raises(ValueError, match="2 rows, and 1 were selected"):
        PagedCache(pool, [a, b]).select(torch.tensor([1]))
    assert state(pool, a, b) == before


# models


def model_of(**changes) -> MiniGPT:
    base = {"n_kv_heads": 2, "d_ff": 20, "position": "rope", "norm": "rmsnorm", "mlp": "swiglu"}
    model = MiniGPT(Config(V, 64, 24, 2, 4, **{**base, **changes}))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3 + (1.0 if p.ndim == 1 else 0.0))
    return model.eval()


def text(n: int, seed: int) -> list[int]:
    return torch.randint(0, V, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, atol=3e-5 * want.abs().max().item(), rtol=0)


def forward(model: MiniGPT, pool: BlockPool, *rows: tuple[PagedSequence, list[int]]) -> list[torch.Tensor]:
    """The logits of each row's new ids, read in one pass."""
    width = max(len(ids) for _, ids in rows)
    ids = torch.tensor([[0] * (width - len(new)) + new for _, new in rows])
    positions = torch.tensor(
        [[PADDING] * (width - len(new)) + list(range(s.length, s.length + len(new))) for s, new in rows]
    )
    logits = model(ids, PagedCache(pool, [s for s, _ in rows]), positions)
    return [row[width - len(new) :] for row, (_, new) in zip(logits, rows, strict=True)]


@pytest.mark.parametrize("changes", [{}, {"position": "alibi"}, {"window": 5}, {"position": "learned"}], ids=str)
@torch.no_grad()
def test_sequences_that_come_and_go_get_what_each_gets_alone(changes):
    model = model_of(**changes)
    texts = [text(n, seed=n) for n in (23, 14, 9)]
    want = [model(torch.tensor([t]))[0] for t in texts]
    pool = model.new_pool(12, 5)
    a, b, c = (pool.open() for _ in texts)
    got = [[], [], []]

    def one_pass(**count):
        rows = [("abc".index(name), {"a": a, "b": b, "c": c}[name], n) for name, n in count.items()]
        logits = forward(model, pool, *[(s, texts[i][s.length : s.length + n]) for i, s, n in rows])
        for (i, _, _), each in zip(rows, logits, strict=True):
            got[i].append(each)

    one_pass(a=7)
    one_pass(a=4, b=6)  # b comes, and reads more than a does
    one_pass(b=1, a=1)
    one_pass(c=9, a=1, b=1)
    pool.free(c)
    one_pass(a=1, b=1)
    one_pass(b=5)
    one_pass(a=9)
    for each, all_of_it in zip(got, want, strict=True):
        close(torch.cat(each), all_of_it)
    check(pool, [a, b])


@torch.no_grad()
def test_what_is_not_a_number_stays_where_it_is():
    model = model_of()
    pool = model.new_pool(7, 4)
    ill, well = pool.open(), pool.open()
    forward(model, pool, (ill, text(9, seed=1)))
    for block in ill.table:
        pool.memory[:, :, block] = math.nan
    want = text(6, seed=2)
    first = forward(model, pool, (well, want[:5]), (ill, [3]))[0]
    pool.free(ill)
    pool._keys.clear()  # nothing is found: the ill blocks are taken by the next
    pool._sealed.clear()
    pool._free = type(pool._free)(reversed(pool._free.items()))
    other = pool.open()
    second = forward(model, pool, (well, want[5:]), (other, text(13, seed=3)))
    close(torch.cat([first, second[0]]), model(torch.tensor([want]))[0])
    close(second[1], model(torch.tensor([text(13, seed=3)]))[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bytes_of_a_pool_are_the_formula(dtype):
    model = model_of(n_kv_heads=1, head_dim=10).to(dtype)
    pool = model.new_pool(n_blocks=11, block_size=3)
    assert pool.memory.dtype == dtype
    assert pool.bytes == pool.memory.untyped_storage().nbytes() == 33 * model.config.kv_bytes_per_token(dtype.itemsize)


@torch.no_grad()
def test_a_prompt_of_which_three_quarters_are_known_costs_a_quarter():
    model = model_of()
    shared, tails = text(45, seed=5), (text(15, seed=6), text(15, seed=7))
    pool = model.new_pool(40, 5)
    flops, logits = [], []
    for tail in tails:
        prompt = shared + tail
        s = pool.open(prompt)
        # torch counts the products of the plain maths, and not those inside the fused kernel
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            logits.append(forward(model, pool, (s, prompt[s.length :]))[0][-1])
        flops.append(counter.get_total_flops())
    assert flops[0] == 60 * model.config.flops_per_token(60)
    assert flops[1] == 15 * model.config.flops_per_token(60)
    for tail, got in zip(tails, logits, strict=True):
        close(got, model(torch.tensor([shared + tail]))[0, -1])


@torch.no_grad()
def test_a_pass_that_fails_half_way_counts_for_nothing():
    model, words = model_of(), text(12, seed=8)
    pool, cache = model.new_pool(4, 3), model.new_cache(1, 12)
    s = pool.open()
    paged = PagedCache(pool, [s])
    for each in (cache, paged):
        model(torch.tensor([words[:4]]), each)

    def fail(*_):
        raise ArithmeticError

    hook = model.blocks[1].mlp.register_forward_hook(fail)
    for each in (cache, paged):
        with pytest.raises(ArithmeticError):
            model(torch.tensor([words[4:]]), each, positions=torch.arange(4, 12)[None])
        assert each.length == 4
    hook.remove()
    assert cache.plain
    assert pool.open([*words[:6], 0]).length == 3  # nothing that was not read to the end is found
    for each in (cache, paged):
        rest = [model(torch.tensor([words[4:5]]), each), model(torch.tensor([words[5:]]), each)]
        close(torch.cat(rest, dim=1), model(torch.tensor([words]))[:, 4:])
    pool.truncate(s, 12)
    assert len(s.table) == 4


def on_blocks(model: MiniGPT, pool: BlockPool) -> MiniGPT:
    """The same model, whose caches lie in the pool."""
    model.new_cache = lambda batch, capacity: PagedCache(pool, [pool.open() for _ in range(batch)])
    return model


def test_what_samples_and_searches_runs_on_blocks_as_it_is():
    model, draft = model_of(), model_of(n_kv_heads=1)
    prompts = [text(9, seed=11), text(3, seed=12), text(5, seed=13)]
    how = [Sampling(temperature=0.7, seed=4), Sampling(temperature=0.0), Sampling(temperature=1.3, top_k=5, seed=9)]

    def everything():
        yield [[token and token.id for token in row] for row in generate(model, prompts, how, 12, stop_ids={3})]
        yield [(beam.ids, round(beam.logprob, 3)) for beam in beam_search(model, prompts[0], 3, 9, stop_ids={3, 4})]
        yield contrastive_search(model, prompts[1], k=3, max_new_tokens=8)
        yield [r.ids for r in speculate(model, draft, prompts[2], how[0], 11, draft_tokens=3)]

    want = list(everything())
    on_blocks(model, model.new_pool(60, 3))
    on_blocks(draft, draft.new_pool(20, 4))
    assert list(everything()) == want


def test_beams_hold_what_they_have_in_common_once():
    model, prompt, beams, new = model_of(), text(41, seed=14), 4, 6
    pool = model.new_pool(48, 4)
    used = []
    model.register_forward_hook(lambda *_: used.append(len(pool.references) - pool.n_free))
    assert len(beam_search(on_blocks(model, pool), prompt, beams, new)) == beams
    assert used[0] == 10 + beams  # 41 tokens: ten full blocks for all, and one for each with the last token
    assert max(used) <= 10 + 2 * beams  # where each beam on its own would hold twelve
