"""Shards against their bytes, crops and packed rows against lists, packed logits against each document alone."""

import hashlib
import itertools
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare

from llmcore.cache.base import PADDING
from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.training.data import IGNORED, Batch, Crops, Packed, Shard, Tokens, write_shards

EOT = 3  # in the middle of the vocabulary, so that neither the first nor the last id stands for it
DOCUMENTS = [[9, 8, 7, 6, 5], [], [1], [0, 10, 0, 10, 0, 10, 0], [2, 2], [], [4, 5, 6]]


def flat(documents, eot):
    """The text that documents make, in plain Python."""
    return [each for document in documents if len(document) for each in (*document, eot)]


def written(folder, documents=DOCUMENTS, vocab_size=11, eot=EOT, **rest):
    write_shards(documents, folder, vocab_size=vocab_size, eot=eot, **rest)
    return Tokens(folder)


def counting(folder, n, **rest):
    """A text of the ids 0, 1, …, n - 1: each says where it stands."""
    return written(folder, [range(n - 1)], vocab_size=n, eot=n - 1, **rest)


# Shards


@pytest.mark.parametrize("shard_tokens", [1, 2, 7, 11, 22, 23, 24, 1000])  # the text has 23 ids
@pytest.mark.parametrize("eot", [0, EOT, 10])
def test_shards_hold_the_documents_with_an_eot_behind_each(tmp_path, shard_tokens, eot):
    documents = [[(eot + 1) % 11 if each == eot else each for each in document] for document in DOCUMENTS]
    text = flat(documents, eot)
    manifest = write_shards(
        (each for each in documents), tmp_path, vocab_size=11, eot=eot, shard_tokens=shard_tokens, about="ünïcode"
    )
    pieces = [text[i : i + shard_tokens] for i in range(0, len(text), shard_tokens)]
    on_disk = [b"".join(each.to_bytes(2, "little") for each in piece) for piece in pieces]
    names = [f"shard-{i:05d}.bin" for i in range(len(pieces))]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", *names, "starts.bin"]
    assert [(tmp_path / name).read_bytes() for name in names] == on_disk
    hashes = [hashlib.sha256(data).hexdigest() for data in on_disk]
    assert manifest.shards == tuple(map(Shard, names, map(len, pieces), hashes))
    assert (manifest.dtype, manifest.vocab_size, manifest.eot) == ("uint16", 11, eot)
    assert (manifest.tokens, manifest.documents, manifest.about) == (23, 5, "ünïcode")
    tokens = Tokens(tmp_path)
    assert tokens.manifest == manifest
    assert len(tokens) == 23
    assert tokens.read(0, 23).tolist() == text
    begins = [0, *(i + 1 for i, each in enumerate(text[:-1]) if each == eot)]
    assert (tmp_path / "starts.bin").read_bytes() == b"".join(each.to_bytes(8, "little") for each in begins)
    tokens.verify()


@pytest.mark.parametrize(
    ("vocab_size", "name", "size"), [(65_535, "uint16", 2), (65_536, "uint16", 2), (65_537, "uint32", 4)]
)
def test_ids_take_two_bytes_as_long_as_they_fit(tmp_path, vocab_size, name, size):
    text = [vocab_size - 1, 0, 255, 256, 32_768, vocab_size - 2]
    tokens = written(tmp_path, [text], vocab_size, eot=1, shard_tokens=5)
    assert tokens.manifest.dtype == name
    found = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("shard-*.bin")))
    assert found == b"".join(each.to_bytes(size, "little") for each in [*text, 1])
    assert tokens.read(0, 7).tolist() == [*text, 1]


@pytest.mark.parametrize("kind", [tuple, np.uint8, np.int32, torch.tensor])
def test_documents_may_be_any_sequences(tmp_path, kind):
    make = (lambda each: np.array(each, dtype=kind)) if kind in (np.uint8, np.int32) else kind
    assert written(tmp_path, [make(each) for each in DOCUMENTS]).read(0, 23).tolist() == flat(DOCUMENTS, EOT)


@pytest.mark.parametrize(
    ("documents", "changes", "says"),
    [
        ([[1], [4, -1]], {}, "document 1 holds the id -1, and the ids go from 0 to 10"),
        ([[1], [], [4, 11]], {}, "document 2 holds the id 11, and the ids go from 0 to 10"),
        ([[70_000]], {"vocab_size": 65_536}, "document 0 holds the id 70000"),
        ([[1], [5, EOT]], {}, "document 1 holds EOT itself"),
        ([], {}, "no document"),
        ([[], []], {}, "no document"),
        ([[1]], {"eot": -1}, "EOT is -1"),
        ([[1]], {"eot": 11}, "EOT is 11"),
        ([[1]], {"shard_tokens": 0}, "a shard of 0 tokens"),
    ],
)
def test_what_is_refused_leaves_no_manifest(tmp_path, documents, changes, says):
    with pytest.raises(ValueError, match=says):
        write_shards(documents, tmp_path, **{"vocab_size": 11, "eot": EOT, **changes})
    with pytest.raises(FileNotFoundError, match="holds no shards, or writing them was interrupted"):
        Tokens(tmp_path)


def test_an_interrupted_writing_is_no_text_and_the_next_one_leaves_nothing_of_it(tmp_path):
    written(tmp_path / "one", shard_tokens=2)  # twelve shards, of which the next writing needs three

    def interrupted():
        yield from ([1, 2], [4, 5, 6])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(interrupted(), tmp_path / "one", vocab_size=11, eot=EOT, shard_tokens=2)
    with pytest.raises(FileNotFoundError, match=r"one has no manifest\.json"):
        Tokens(tmp_path / "one")
    for name in ("one", "fresh"):
        written(tmp_path / name, [[1, 2], [4, 5]], shard_tokens=2)
    one, fresh = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "fresh"))
    assert one == fresh
    assert len(one) == 5


def test_the_manifest_appears_last_and_in_whole(tmp_path, monkeypatch):
    seen = []

    def rename(part, final):
        seen.append({path.name: path.stat().st_size for path in tmp_path.iterdir()})
        raise OSError("killed here")

    monkeypatch.setattr("llmcore.training.data.os.replace", rename)
    with pytest.raises(OSError, match="killed here"):
        written(tmp_path, shard_tokens=16)
    part = seen[0].pop("manifest.json.part")
    assert seen == [{"shard-00000.bin": 32, "shard-00001.bin": 14, "starts.bin": 40}]
    assert part > 100
    with pytest.raises(FileNotFoundError):
        Tokens(tmp_path)


def test_memory_does_not_grow_with_the_number_of_documents(tmp_path):
    def peak(n):
        rng = np.random.default_rng(7)
        tracemalloc.start()
        write_shards((rng.integers(0, 999, 500) for _ in range(n)), tmp_path, vocab_size=1000, eot=999)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(3)  # what is imported and cached once
    few, many = peak(20), peak(2000)
    assert Tokens(tmp_path).manifest.tokens == 2000 * 501  # two million bytes on disk
    assert many < few + 20_000


def test_reading_anywhere_also_across_shards(tmp_path):
    text = flat(DOCUMENTS, EOT)
    for shard_tokens in (1, 3, 23):
        tokens = written(tmp_path, shard_tokens=shard_tokens)
        for start, end in itertools.combinations_with_replacement(range(24), 2):
            found = tokens.read(start, end - start)
            assert (found.dtype, found.tolist()) == (np.int64, text[start:end])


@pytest.mark.parametrize(("start", "n"), [(-1, 1), (-1, 0), (0, 24), (23, 1), (22, 2), (24, 0), (5, -1), (100, 3)])
def test_reading_beyond_the_ends_is_refused(tmp_path, start, n):
    with pytest.raises(IndexError, match="of 23"):
        written(tmp_path, shard_tokens=5).read(start, n)


@pytest.mark.parametrize("name", ["shard-00000.bin", "shard-00002.bin", "starts.bin"])
def test_a_file_of_another_length_is_noticed_when_it_is_opened(tmp_path, name):
    written(tmp_path, shard_tokens=9)
    path = tmp_path / name
    whole = path.read_bytes()
    for data in (whole[:-1], whole + b"\0", b"", None):
        path.unlink() if data is None else path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"{name} has {len(data or b'')} bytes instead of {len(whole)}"):
            Tokens(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "{}", '{"shards": []}', '{"shards": [{"name": "x"}], "tokens": 3}', "{"]
)
def test_a_manifest_of_something_else_is_named(tmp_path, text):
    written(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json does not describe shards"):
        Tokens(tmp_path)


@pytest.mark.parametrize("name", ["shard-00000.bin", "shard-00001.bin", "shard-00002.bin", "starts.bin"])
def test_a_flipped_bit_in_any_byte_is_found_by_verify(tmp_path, name):
    written(tmp_path, shard_tokens=9).verify()
    whole = (tmp_path / name).read_bytes()
    for bit in range(0, 8 * len(whole), 9):  # every ninth: each byte, each time another of its bits
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name} was changed after it was written"):
            Tokens(tmp_path).verify()


# Batches of both kinds


def test_a_batch_knows_how_many_targets_count():
    ids = torch.zeros(2, 3, dtype=torch.int64)
    assert Batch(ids, torch.tensor([[IGNORED, 0, 5], [1, IGNORED, IGNORED]])).counted == 3
    assert Batch(ids, torch.full((2, 3), IGNORED)).counted == 0
    moved = Batch(ids, ids, None, ids + 1).to(torch.device("meta"))
    assert [each if each is None else each.device.type for each in moved] == ["meta", "meta", None, "meta"]


@pytest.mark.parametrize("kind", [Crops, Packed])
def test_a_batch_depends_on_seed_rank_and_step_alone(tmp_path, kind):
    tokens = counting(tmp_path, 997) if kind is Crops else written(tmp_path, [[i, i] for i in range(400)], 500, eot=499)
    more = {} if kind is Crops else {"world": 5}

    def rows(seed, rank, step):
        return kind(tokens, 4, 11, seed, rank, **more).batch(step).targets.tolist()

    one = kind(tokens, 4, 11, seed=2, rank=3, **more)
    torch.manual_seed(5)
    np.random.seed(5)
    before = (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())
    forward = [one.batch(step).targets.tolist() for step in (0, 1, 2, 40, 7)]
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before
    torch.manual_seed(6)
    assert [one.batch(step).targets.tolist() for step in (7, 40, 2, 1, 0)] == forward[::-1]
    assert rows(2, 3, 40) == forward[3]
    orders = list(itertools.permutations((1, 2, 3)))  # the three are not added up, and do not change places
    assert len({str(rows(*each)) for each in [*orders, (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}) == 10


@pytest.mark.parametrize("kind", [Crops, Packed])
def test_a_description_tells_texts_and_settings_apart_and_survives_json(tmp_path, kind):
    tokens = written(tmp_path / "one")
    said = kind(tokens, 4, 7, seed=2).describe()
    assert json.loads(json.dumps(said)) == said
    assert said == kind(Tokens(tmp_path / "one"), 4, 7, seed=2).describe()
    assert said["kind"] == kind.__name__
    for other in (kind(tokens, 5, 7, seed=2), kind(tokens, 4, 8, seed=2), kind(tokens, 4, 7, seed=3)):
        assert other.describe() != said
    changed = [*DOCUMENTS[:-1], [4, 5, 7]]
    assert kind(written(tmp_path / "two", changed), 4, 7, seed=2).describe()["text"] != said["text"]


# Crops


@pytest.mark.parametrize("shard_tokens", [5, 1000])
def test_a_crop_is_a_stretch_of_the_text_and_its_targets_the_ids_that_follow(tmp_path, shard_tokens):
    text = flat(DOCUMENTS, EOT)
    tokens = written(tmp_path, shard_tokens=shard_tokens)
    stretches = {tuple(text[i : i + 9]) for i in range(len(text) - 8)}
    for step in range(20):
        batch = Crops(tokens, 6, 8, seed=1).batch(step)
        assert batch.ids.shape == batch.targets.shape == (6, 8)
        assert batch.ids.dtype == batch.targets.dtype == torch.int64
        assert (batch.positions, batch.documents, batch.where, batch.counted) == (None, None, {}, 48)
        assert torch.equal(batch.ids[:, 1:], batch.targets[:, :-1])
        assert {(*ids, target) for ids, target in zip(batch.ids.tolist(), batch.targets[:, -1].tolist())} <= stretches


def test_every_start_is_drawn_as_often_as_every_other(tmp_path):
    length, n = 7, 24
    crops = Crops(counting(tmp_path, n), rows=64, length=length, seed=9, rank=2)
    batches = [crops.batch(step) for step in range(200)]
    assert all(torch.equal(batch.ids - batch.ids[:, :1], torch.arange(length).expand(64, -1)) for batch in batches)
    assert all(torch.equal(batch.targets, batch.ids + 1) for batch in batches)
    counts = torch.cat([batch.ids[:, 0] for batch in batches]).bincount()
    assert len(counts) == n - length  # the last target of the last start is the last id
    assert chisquare(counts).pvalue > 1e-4


def test_a_text_needs_one_id_more_than_a_row(tmp_path):
    tokens = counting(tmp_path, 12)
    only = Crops(tokens, rows=3, length=11).batch(4)
    assert only.ids.tolist() == [list(range(11))] * 3
    with pytest.raises(ValueError, match="12 tokens hold no row of 12 and its targets"):
        Crops(tokens, rows=3, length=12)


# Packed


def epoch_of(packed, epoch):
    """All rows of an epoch, one below the other, from batches of the steps that hold them."""
    first, last = epoch * packed.rows_per_epoch, (epoch + 1) * packed.rows_per_epoch
    steps = range(first // packed.rows, -(-last // packed.rows))
    rows = [torch.cat(each) for each in zip(*(packed.batch(step) for step in steps), strict=True)]
    begin = first - steps[0] * packed.rows
    return Batch(*(each[begin : begin + packed.rows_per_epoch] for each in rows))


def rows_by_hand(documents, eot, length):
    """Packed rows of documents in this order: the same four tables, one token after another."""
    stream = []
    for number, document in enumerate(documents):
        stream += [(before, after, number) for before, after in zip([eot, *document], [*document, eot], strict=True)]
    while len(stream) % length:
        stream.append((eot, IGNORED, PADDING))
    ids, targets, positions, numbers = [], [], [], []
    for at, (before, after, number) in enumerate(stream):
        same = at % length and stream[at - 1][2] == number
        ids.append(before)
        targets.append(after)
        numbers.append(number)
        positions.append(PADDING if number == PADDING else positions[-1] + 1 if same else 0)
    return Batch(*(torch.tensor(each).view(-1, length) for each in (ids, targets, positions, numbers)))


TEXTS = [[20 * i + 20 + j for j in range(size)] for i, size in enumerate([1, 5, 19, 2, 7, 1, 3])]  # 45 ids with EOTs


@pytest.mark.parametrize("length", [1, 2, 5, 6, 9, 15, 44, 45, 46, 100])
@pytest.mark.parametrize("rows", [1, 3])
def test_packed_rows_are_the_documents_one_behind_the_other_in_some_order(tmp_path, length, rows):
    tokens = written(tmp_path, TEXTS, vocab_size=200, eot=11, shard_tokens=8)
    packed = Packed(tokens, rows, length, seed=4)
    assert packed.rows_per_epoch == -(-45 // length)
    by_first = {text[0]: text for text in TEXTS}
    for epoch in (0, 1, 5, 1):
        got = epoch_of(packed, epoch)
        seen = [by_first[each] for each in got.targets.flatten().tolist() if each in by_first]
        assert sorted(seen) == TEXTS
        for name, mine, by_hand in zip(Batch._fields, got, rows_by_hand(seen, 11, length), strict=True):
            assert mine.dtype == torch.int64
            assert torch.equal(mine, by_hand), (name, epoch)


def test_every_id_is_a_target_exactly_once_an_epoch(tmp_path):
    rng = np.random.default_rng(3)
    documents = [rng.integers(1, 40, size).tolist() for size in rng.integers(1, 30, 50)]
    packed = Packed(written(tmp_path, documents, 40, eot=0), rows=4, length=13, seed=8)
    wanted = np.bincount(flat(documents, 0))
    for epoch in (0, 3):
        targets = epoch_of(packed, epoch).targets
        assert targets[targets != IGNORED].bincount().tolist() == wanted.tolist()
        padding = (targets.flatten() == IGNORED).nonzero().flatten().tolist()
        assert padding == list(range(sum(wanted), targets.numel()))  # at the end, and less than a row of it
        assert len(padding) < 13


@pytest.mark.parametrize(("rows", "world"), [(2, 3), (3, 2), (1, 4)])
def test_ranks_share_an_epoch_without_overlap(tmp_path, rows, world):
    tokens = written(tmp_path, TEXTS, vocab_size=200, eot=11)
    alone = Packed(tokens, rows * world, 4, seed=6)
    ranks = [Packed(tokens, rows, 4, seed=6, rank=rank, world=world) for rank in range(world)]
    for step in range(9):  # several epochs of twelve rows
        together = [torch.cat(each) for each in zip(*(one.batch(step) for one in ranks), strict=True)]
        assert all(torch.equal(a, b) for a, b in zip(together, alone.batch(step), strict=True))


@pytest.mark.parametrize(("rank", "world"), [(-1, 2), (2, 2), (0, 0)])
def test_a_rank_outside_the_world_is_refused(tmp_path, rank, world):
    with pytest.raises(ValueError, match=f"rank {rank} is none of {world}"):
        Packed(written(tmp_path), 2, 4, rank=rank, world=world)


def test_every_order_of_documents_is_as_likely_as_every_other(tmp_path):
    tokens = written(tmp_path, [[1], [2], [4]])
    found = []
    for seed in (1, 2):
        packed = Packed(tokens, rows=100, length=6, seed=seed)  # a row is an epoch
        orders = torch.cat([packed.batch(step).targets[:, ::2] for step in range(6)]).tolist()
        assert {tuple(sorted(order)) for order in orders} == {(1, 2, 4)}
        assert chisquare([orders.count(list(order)) for order in itertools.permutations((1, 2, 4))]).pvalue > 1e-4
        found.append(orders)
    for late in (0, 1, 2):  # nor does another seed give the same orders, an epoch earlier or later
        assert sum(a == b for a, b in zip(found[0][late:], found[1], strict=False)) < 200
        assert sum(a == b for a, b in zip(found[0], found[1][late:], strict=False)) < 200


def test_a_row_of_a_long_document_reads_no_more_than_it_holds(tmp_path, monkeypatch):
    packed = Packed(counting(tmp_path, 5000), rows=3, length=16)
    numbers = []
    read = Tokens.read
    monkeypatch.setattr(Tokens, "read", lambda self, start, n: numbers.append(n) or read(self, start, n))
    batch = packed.batch(50)
    assert batch.ids.tolist() == [list(range(2399 + 16 * row, 2415 + 16 * row)) for row in range(3)]
    assert sum(numbers) <= 3 * (16 + 1)


# Packed rows in a model

MODELS = {
    "learned": {},
    "sinusoidal": {"position": "sinusoidal", "norm": "rmsnorm"},
    "rope": {"position": "rope", "mlp": "swiglu", "n_kv_heads": 2},
    "alibi": {"position": "alibi", "bias": True},
    "window": {"position": "rope", "window": 3},
    "alibi with a window": {"position": "alibi", "window": 4},
}


def packed_model(name):
    torch.manual_seed(11)
    model = MiniGPT(replace(Config(40, 12, 24, 2, 4), **MODELS[name]))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3 + (p.ndim == 1))
    return model


def pieces(batch):
    """(row, slice) of each stretch of one document."""
    for row, numbers in enumerate(batch.documents.tolist()):
        at = 0
        for number, group in itertools.groupby(numbers):
            n = len(list(group))
            if number != PADDING:
                yield row, slice(at, at + n)
            at += n


@pytest.mark.parametrize("name", MODELS)
def test_a_packed_document_gets_the_logits_and_gradients_it_gets_alone(tmp_path, name):
    rng = np.random.default_rng(2)
    documents = [rng.integers(1, 40, size).tolist() for size in (3, 1, 25, 6, 2, 9)]
    packed = Packed(written(tmp_path, documents, 40, eot=0), rows=5, length=12, seed=1)
    batch = packed.batch(0)  # an epoch has 52 ids, so the last of its five rows ends in padding
    model = packed_model(name)
    logits = model(batch.ids, **batch.where)
    F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum").backward()
    together = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    places = list(pieces(batch))
    assert len(places) > 8
    assert sum(where.stop - where.start for _, where in places) == 52
    for row, where in places:
        alone = model(batch.ids[row : row + 1, where])
        torch.testing.assert_close(logits[row, where], alone[0], atol=2e-5, rtol=1e-5)
        F.cross_entropy(alone[0], batch.targets[row, where], reduction="sum").backward()
    for mine, p in zip(together, model.parameters(), strict=True):
        torch.testing.assert_close(mine, p.grad, atol=2e-5 * float(p.grad.abs().max()), rtol=1e-4)
    unpacked = model(batch.ids, positions=batch.positions)  # what the numbers of the documents are there for
    assert max((logits[row, where] - unpacked[row, where]).abs().max() for row, where in places) > 0.1
    assert logits.isfinite().all()
