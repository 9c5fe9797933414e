"""Sampling against exact distributions, batches against single rows, searches against exhaustive ones."""

import itertools
import math

import pytest
import torch
from scipy import stats
from transformers import LlamaConfig, LlamaForCausalLM

from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.settings import GREEDY, Sampling, adjust, choose, draw
from llmcore.sampling.speculative import speculate, verify
from llmcore.sampling.strategies import beam_search, contrastive_search, generate, left_padded

V = 7


def tiny(seed: int, n_layers: int = 2, v: int = V) -> MiniGPT:
    torch.manual_seed(seed)
    model = MiniGPT(
        Config(v, 40, 24, n_layers, 4, n_kv_heads=2, position="rope", norm="rmsnorm", mlp="swiglu", d_ff=20)
    )
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(8 if p.ndim > 1 else 1)  # far from uniform
    return model.eval()


def grid(n: int) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


# drawing


def test_draw_gives_each_token_its_probability():
    p = torch.tensor([0.1, 0.0, 0.45, 0.05, 0.4])
    ids = draw(p.expand(2000, 5), grid(2000))
    assert torch.bincount(ids, minlength=5).tolist() == [200, 0, 900, 100, 800]


def test_draw_at_the_ends_of_the_interval_takes_no_impossible_token():
    p = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    assert draw(p, torch.tensor([0.0])).tolist() == [1]
    assert draw(p, torch.tensor([1 - 1e-16], dtype=torch.float64)).tolist() == [3]
    assert draw(p, torch.tensor([math.nextafter(1, 0)], dtype=torch.float64)).tolist() == [3]


def test_draw_refuses_a_row_without_a_token():
    p = torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.2, 0.8], [math.nan, 0.5]])
    with pytest.raises(ValueError, match="no token can be drawn in row 1, 3: all are forbidden"):
        draw(p, grid(4))
    assert draw(p[[0, 2]], torch.tensor([0.7, 0.1])).tolist() == [1, 0]


@pytest.mark.parametrize("wrong", [[-math.inf] * 3, [0.0, math.nan, 1.0], [0.0, math.inf, 1.0]])
@pytest.mark.parametrize("setting", [GREEDY, Sampling(top_p=0.9), Sampling(top_k=2, temperature=0.3)])
def test_choose_refuses_what_has_no_distribution(wrong, setting):
    logits, none = torch.tensor([wrong, [0.5, 0.2, 9.0]]), torch.zeros(2, 0, dtype=torch.long)
    u = None if setting is GREEDY else torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="no token can be drawn in row 0:"):
        choose(logits, [setting] * 2, none, none, u)
    assert choose(logits[1:], [setting], none[1:], none[1:], u if u is None else u[1:]).tolist() == [2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": -1},
        {"top_p": 1.1},
        {"top_p": -0.1},
        {"min_p": 2.0},
        {"min_p": -0.5},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": math.inf},
        {"frequency_penalty": math.nan},
        {"presence_penalty": math.inf},
        {"no_repeat_ngram": -2},
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}=.*: it has to be"):
        Sampling(**wrong)
    assert Sampling(top_p=0.0, min_p=1.0, temperature=0.0, repetition_penalty=0.1, presence_penalty=-2.0).top_p == 0


def by_hand(logits, s, prompt, answer):
    """The distribution under some settings, in plain Python floats, one token after the other."""
    x = [logit + s.logit_bias.get(i, 0.0) for i, logit in enumerate(logits)]
    for i in {*prompt, *answer}:
        x[i] = x[i] / s.repetition_penalty if x[i] > 0 else x[i] * s.repetition_penalty
    for i in set(answer):
        x[i] -= s.frequency_penalty * answer.count(i) + s.presence_penalty
    said, n = prompt + answer, s.no_repeat_ngram
    for at in range(len(said) - n + 1) if n else []:
        if said[at : at + n - 1] == said[len(said) - n + 1 :]:
            x[said[at + n - 1]] = -math.inf
    x = [each / s.temperature for each in x]
    order = sorted(range(len(x)), key=lambda i: -x[i])
    kept = order[: s.top_k] if s.top_k else order
    weight = {i: math.exp(x[i] - x[order[0]]) for i in kept}
    total, sum_so_far, nucleus = sum(weight.values()), 0.0, []
    for i in kept:
        if sum_so_far < s.top_p * total:
            nucleus.append(i)
        sum_so_far += weight[i]
    kept = [i for i in nucleus if weight[i] >= s.min_p]  # of the best token's weight, which is 1
    return [weight[i] / sum(weight[j] for j in kept) if i in kept else 0.0 for i in range(len(x))]


@pytest.mark.parametrize(
    "setting",
    [
        Sampling(temperature=0.8, top_k=9, top_p=0.85, repetition_penalty=1.4),
        Sampling(temperature=1.7, top_p=0.9, min_p=0.12, frequency_penalty=0.5, presence_penalty=-0.3),
        Sampling(temperature=0.6, top_k=5, logit_bias={2: 3.0, 10: -math.inf}, no_repeat_ngram=2),
        Sampling(temperature=3.0, min_p=0.3, logit_bias={0: -4.0}, no_repeat_ngram=1),
    ],
)
def test_what_is_drawn_has_exactly_the_distribution_of_the_settings(setting):
    logits = torch.randn(1, 11, generator=torch.Generator().manual_seed(8)) * 2
    prompt, answer, n = [1, 3, 6], [4, 4, 1, 3, 10, 1], 4000
    want = by_hand(logits[0].tolist(), setting, prompt, answer)
    rows = [torch.tensor([ids]).expand(n, -1) for ids in (prompt, answer)]
    ids = choose(logits.expand(n, -1), [setting] * n, *rows, grid(n))
    for got, probability in zip(torch.bincount(ids, minlength=11).tolist(), want, strict=True):
        assert abs(got - n * probability) <= 1.01  # the grid can miss each end of an interval by one
        assert got == 0 or probability > 0
    assert 1 < sum(probability > 0 for probability in want) < 11


def test_adjust_applies_each_row_its_settings_in_order():
    logits = torch.randn(3, 11, generator=torch.Generator().manual_seed(1)) * 2
    prompts = torch.tensor([[1, 2, 1, 2], [-1, 3, 4, 5], [9, 9, 9, 9]])
    answers = torch.tensor([[1, 1], [10, 10], [0, 1]])
    rows = [
        Sampling(repetition_penalty=1.5, temperature=0.5, top_k=4),
        Sampling(frequency_penalty=0.7, presence_penalty=0.2, top_p=0.6, logit_bias={3: 4.0}),
        Sampling(no_repeat_ngram=2, min_p=0.1, temperature=3.0),
    ]
    whole = adjust(logits, rows, prompts, answers)
    for i, row in enumerate(rows):
        one = adjust(logits[i : i + 1], [row], prompts[i : i + 1], answers[i : i + 1])
        torch.testing.assert_close(whole[i : i + 1], one)
    first = logits[0].clone()
    for i in (1, 2):
        first[i] = first[i] / 1.5 if first[i] > 0 else first[i] * 1.5
    first /= 0.5
    want = {int(i): first[i].item() for i in first.topk(4).indices}
    assert {i: x for i, x in enumerate(whole[0].tolist()) if x > -math.inf} == pytest.approx(want)
    assert whole[2, 10] > -math.inf  # 1 was never followed by anything
    assert adjust(logits, [Sampling()] * 3, prompts, answers).equal(logits)


# generate


def test_greedy_is_the_best_token_again_and_again():
    model, prompt = tiny(0), [3, 1]
    ids = list(prompt)
    for _ in range(9):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    got = [tokens[0] for tokens in generate(model, [prompt], GREEDY, max_new_tokens=9)]
    assert [token.id for token in got] == ids[2:]
    for n, token in enumerate(got):
        want = model(torch.tensor([ids[: 2 + n]]))[0, -1].log_softmax(-1)[token.id]
        assert token.logprob == pytest.approx(want.item(), abs=1e-4)


def test_a_row_gets_what_it_gets_alone():
    model = tiny(1)
    prompts = [[3], [1, 2, 5, 0], [6, 6]]
    settings = [Sampling(temperature=0.7, seed=4), Sampling(top_k=3, seed=9), Sampling(repetition_penalty=2.0, seed=4)]
    together = list(generate(model, prompts, settings, max_new_tokens=12))
    for row in range(3):
        alone = generate(model, [prompts[row]], settings[row], max_new_tokens=12)
        assert [step[row].id for step in together] == [step[0].id for step in alone]


def test_rows_end_each_at_its_own_stop_id():
    model = tiny(2)
    settings = [Sampling(seed=s) for s in range(6)]
    free = list(generate(model, [[1]] * 6, settings, max_new_tokens=15))
    steps = list(generate(model, [[1]] * 6, settings, max_new_tokens=15, stop_ids={3}))
    ends = set()
    for row in range(6):
        ids = [step[row].id for step in free]
        want = ids[: ids.index(3) + 1] if 3 in ids else ids
        got = [step[row] for step in steps]
        assert [t.id for t in got if t is not None] == want
        assert all(t is None for t in got[len(want) :])
        ends.add(len(want))
    assert len(ends) > 1
    assert len(steps) == max(ends)


def test_samples_follow_the_model():
    model = tiny(3)
    want = model(torch.tensor([[2, 4]]))[0, -1].softmax(-1)
    n = 2000
    settings = [Sampling(seed=s) for s in range(n)]
    first = next(generate(model, [[2, 4]] * n, settings, max_new_tokens=1))
    got = torch.bincount(torch.tensor([t.id for t in first]), minlength=V) / n
    assert 0.5 * (got - want).abs().sum() < 0.05  # total variation; 2000 draws give about 0.02


def test_what_cannot_be_generated_is_refused():
    with pytest.raises(ValueError, match="a prompt is empty"):
        left_padded([[1], []])
    with pytest.raises(ValueError, match="2 prompts and 1 settings"):
        next(generate(tiny(0), [[1], [2]], [GREEDY]))
    every = dict.fromkeys(range(V), -math.inf)
    for settings in ([GREEDY, Sampling(temperature=0.0, logit_bias=every)], [Sampling(), Sampling(logit_bias=every)]):
        with pytest.raises(ValueError, match="in row 1: all are forbidden"):
            next(generate(tiny(0), [[1], [2]], settings))


def test_greedy_rows_beside_sampled_ones_are_greedy():
    """All rows greedy is a way of its own through the code: it must give the same."""
    model, hot = tiny(1), Sampling(temperature=1.5, seed=3)
    setting = Sampling(temperature=0.0, frequency_penalty=9.0, top_k=2, top_p=0.1, seed=7)
    alone = [step[0] for step in generate(model, [[2, 6]], setting, max_new_tokens=10)]
    beside = [step[1] for step in generate(model, [[1], [2, 6]], [hot, setting], max_new_tokens=10)]
    assert [t.id for t in alone] == [t.id for t in beside]
    assert [t.id for t in alone] != [step[0].id for step in generate(model, [[2, 6]], GREEDY, max_new_tokens=10)]


# beam search


def best_of_all(model, prompt, length, stop, penalty):
    """Every text of `length` tokens, and every shorter one that ends in `stop`, by score."""
    found = []
    for n in range(1, length + 1):
        for ids in itertools.product(range(model.config.vocab_size), repeat=n):
            if stop in ids[:-1] or (n < length and ids[-1] != stop):
                continue
            logits = model(torch.tensor([[*prompt, *ids]]))[0, len(prompt) - 1 : -1].log_softmax(-1)
            total = logits.gather(1, torch.tensor(ids)[:, None]).sum().item()
            found.append((total / n**penalty, list(ids)))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@torch.no_grad()
def test_a_beam_as_wide_as_everything_finds_the_best(penalty):
    model = tiny(5, v=4)
    want = best_of_all(model, [1, 3], 3, stop=2, penalty=penalty)
    got = beam_search(model, [1, 3], beams=64, max_new_tokens=3, stop_ids={2}, length_penalty=penalty)
    assert [b.ids for b in got[:10]] == [ids for _, ids in want[:10]]
    assert [b.score for b in got[:10]] == pytest.approx([score for score, _ in want[:10]], abs=1e-4)


@torch.no_grad()
def test_one_beam_is_greedy_and_more_are_never_worse_on_this_model():
    model = tiny(6)
    greedy = [tokens[0] for tokens in generate(model, [[1, 2]], GREEDY, max_new_tokens=8)]
    one = beam_search(model, [1, 2], beams=1, max_new_tokens=8)[0]
    assert one.ids == [t.id for t in greedy]
    assert one.logprob == pytest.approx(sum(t.logprob for t in greedy), abs=1e-3)
    wide = beam_search(model, [1, 2], beams=5, max_new_tokens=8)
    assert wide[0].logprob >= one.logprob - 1e-4
    assert [b.score for b in wide] == sorted((b.score for b in wide), reverse=True)


def pair(seed, v=11):
    """The same weights in transformers and here."""
    shape = {"hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 1, "max_position_embeddings": 40}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "tie_word_embeddings": False}
    torch.manual_seed(seed)
    theirs = LlamaForCausalLM(LlamaConfig(vocab_size=v, **shape, **heads, bos_token_id=0, pad_token_id=0)).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.mul_(9 if p.ndim > 1 else 1)
    rest = {"position": "rope", "norm": "rmsnorm", "mlp": "swiglu", "d_ff": 20, "tie_embeddings": False}
    ours = MiniGPT(Config(v, 40, 24, 1, 4, n_kv_heads=2, **rest)).eval()
    assert [p.shape for p in theirs.parameters()] == [p.shape for p in in_their_order(ours)]
    with torch.no_grad():
        for mine, other in zip(in_their_order(ours), theirs.parameters(), strict=True):
            mine.copy_(other)
    return theirs, ours


def in_their_order(model):
    yield model.embedding.weight
    for block in model.blocks:
        a, m = block.attention, block.mlp
        yield from (layer.weight for layer in (a.q, a.k, a.v, a.out, m.gate, m.up, m.down))
        yield from (block.attention_norm.weight, block.mlp_norm.weight)
    yield from (model.final_norm.weight, model.head.weight)


@pytest.mark.parametrize("beams", [2, 5])
@pytest.mark.parametrize(("penalty", "stop"), [(0.0, {4}), (0.6, {4, 7, 10}), (-1.0, {2, 9, 5})])
def test_beams_are_those_of_transformers(beams, penalty, stop):
    ended = 0
    for seed in range(4):
        theirs, ours = pair(seed)
        out = theirs.generate(
            torch.tensor([[3, 1]]),
            attention_mask=torch.ones(1, 2),
            num_beams=beams,
            num_return_sequences=beams,
            length_penalty=penalty,
            eos_token_id=sorted(stop),
            max_new_tokens=7,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
        )
        want = []
        for ids in out.sequences[:, 2:].tolist():
            end = next((n + 1 for n, i in enumerate(ids) if i in stop), len(ids))
            want.append(ids[:end])
        got = beam_search(ours, [3, 1], beams, 7, stop, penalty)
        assert [b.ids for b in got] == want
        assert [b.score for b in got] == pytest.approx(out.sequences_scores.tolist(), abs=1e-3)
        ended += sum(len(ids) < 7 for ids in want)
    assert ended


# contrastive search


@torch.no_grad()
def test_contrastive_search_is_its_equation():
    model, k, alpha = tiny(7), 3, 0.5
    ids = [2, 5]
    for _ in range(8):
        p = model(torch.tensor([ids]))[0, -1].softmax(-1)
        before = model.hidden(torch.tensor([ids]))[0]
        scores = {}
        for v in p.topk(k).indices.tolist():
            h = model.hidden(torch.tensor([[*ids, v]]))[0, -1]
            scores[v] = (1 - alpha) * p[v] - alpha * torch.cosine_similarity(h[None], before).max()
        ids.append(max(scores, key=scores.get))
    assert contrastive_search(model, [2, 5], k=k, alpha=alpha, max_new_tokens=8) == ids[2:]
    stop = ids[5]
    assert contrastive_search(model, [2, 5], k, alpha, 8, {stop}) == ids[2 : ids.index(stop, 2) + 1]


def test_contrastive_search_without_contrast_is_greedy():
    model = tiny(8)
    greedy = [tokens[0].id for tokens in generate(model, [[1, 2]], GREEDY, max_new_tokens=8)]
    assert contrastive_search(model, [1, 2], k=4, alpha=0.0, max_new_tokens=8) == greedy


# speculative decoding


# Tables of quarters, so that a grid of quarters integrates over random numbers without any error. Row: the token before.
P_TABLE = torch.tensor([[0.25, 0.25, 0.5], [0.0, 0.5, 0.5], [0.5, 0.25, 0.25]])
Q_TABLE = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])


def chains(table, first, n):
    """Every text of n tokens, and its probability when `first` stands before it."""
    out = {}
    for ids in itertools.product(range(3), repeat=n):
        steps = zip([first, *ids], ids, strict=False)
        out[ids] = math.prod(table[before, after].item() for before, after in steps)
    return out


def test_verify_gives_exactly_the_models_distribution():
    """Two drafted tokens, all random numbers enumerated: what comes out, and goes on as the model would, is p's."""
    for first in range(3):
        got = dict.fromkeys(itertools.product(range(3), repeat=3), 0.0)
        accepted = 0.0
        for a, b in itertools.product(range(3), repeat=2):
            q = torch.stack([Q_TABLE[first], Q_TABLE[a]])
            p = torch.stack([P_TABLE[first], P_TABLE[a], P_TABLE[b]])
            drafted = (q[0, a] * q[1, b]).item()
            for u in itertools.product(grid(4).tolist(), repeat=3) if drafted else []:
                out = verify([a, b], q, p, torch.tensor(u[:2]), u[2])
                accepted += drafted / 4**3 * out.accepted
                for rest, probability in chains(P_TABLE, out.ids[-1], 3 - len(out.ids)).items():
                    got[(*out.ids, *rest)] += drafted / 4**3 * probability
        assert got == pytest.approx(chains(P_TABLE, first, 3), abs=1e-6)
        one = torch.minimum(P_TABLE, Q_TABLE).sum(1)  # how probable it is that a draft behind each token is kept
        both = one[first] + (torch.minimum(P_TABLE, Q_TABLE)[first] * one).sum()
        assert accepted == pytest.approx(both.item(), abs=1e-6)


class Table:
    """A model of which all probabilities are known: they depend on the token before alone."""

    def __init__(self, table):
        self.table, self.config = table, Config(3, 9, 4, 1, 1)

    def new_cache(self, batch, capacity):
        return TableCache()

    def __call__(self, ids, cache):
        cache.length += ids.shape[1]
        return self.table.log()[ids]


class TableCache:
    length = 0

    def truncate(self, length):
        assert length <= self.length
        self.length = length


@pytest.mark.parametrize(("draft_tokens", "n"), [(1, 3), (2, 2)])
def test_speculation_has_exactly_the_models_distribution(draft_tokens, n, monkeypatch):
    """All of `speculate`, for all random numbers it asks for: tables of halves, so two values stand for them all."""
    p = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])
    q = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    script, place = [], 0

    def rand(count, **how):
        nonlocal place
        script.extend([0] * (place + count - len(script)))
        place += count
        return (torch.tensor(script[place - count : place], dtype=torch.float64) + 0.5) / 2

    monkeypatch.setattr(torch, "rand", rand)
    got, total = dict.fromkeys(itertools.product(range(3), repeat=n), 0.0), 0.0
    while True:
        place = 0
        rounds = list(speculate(Table(p), Table(q), [1, 0], Sampling(), max_new_tokens=n, draft_tokens=draft_tokens))
        got[tuple(i for r in rounds for i in r.ids)] += 0.5 ** len(script)
        total += 0.5 ** len(script)
        while script and script[-1] == 1:
            script.pop()
        if not script:
            break
        script[-1] = 1
    assert total == 1
    assert got == pytest.approx(chains(p, 0, n), abs=1e-6)


def test_a_refusal_of_a_distribution_that_differs_by_rounding_alone_draws_from_it():
    q = torch.tensor([[0.5, 0.5]])
    p = torch.tensor([[0.5 - 2**-25, 0.5], [0.5, 0.5]])
    u = torch.tensor([math.nextafter(1, 0)], dtype=torch.float64)
    assert verify([0], q, p, u, 0.9) == ([1], 0)


def test_a_refusal_ends_the_draft():
    q = torch.full((3, 2), 0.5)
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]])
    out = verify([0, 1, 0], q, p, torch.zeros(3), 0.3)
    assert out == ([0, 0], 1)


@pytest.mark.parametrize("draft_tokens", [1, 3])
def test_speculation_under_greedy_settings_is_greedy_whatever_the_draft(draft_tokens):
    model = tiny(9)
    greedy = [tokens[0].id for tokens in generate(model, [[4, 4, 1]], GREEDY, max_new_tokens=17)]
    for draft in (tiny(10, n_layers=1), model):
        rounds = list(speculate(model, draft, [4, 4, 1], GREEDY, max_new_tokens=17, draft_tokens=draft_tokens))
        assert [i for r in rounds for i in r.ids] == greedy
        if draft is model:
            assert all(r.accepted >= min(draft_tokens, len(r.ids)) for r in rounds)
            assert len(rounds) == math.ceil(17 / (draft_tokens + 1))


def test_speculation_stops_at_a_stop_id():
    model = tiny(9)
    greedy = [tokens[0].id for tokens in generate(model, [[4, 4, 1]], GREEDY, max_new_tokens=17)]
    stop = greedy[6]
    rounds = speculate(model, model, [4, 4, 1], GREEDY, max_new_tokens=17, stop_ids={stop})
    assert [i for r in rounds for i in r.ids] == greedy[: greedy.index(stop) + 1]


def test_samples_of_speculation_pass_for_the_models_and_not_for_the_drafts():
    """Chi-square over pairs of tokens, of two models that disagree."""
    model, draft = tiny(11, n_layers=1, v=4), tiny(12, n_layers=1, v=4)
    n, setting, none = 300, {"temperature": 1.3, "top_k": 3}, torch.zeros(1, 0, dtype=torch.long)
    seen = torch.zeros(4, 4)
    for seed in range(n):
        rounds = speculate(model, draft, [2], Sampling(**setting, seed=seed), max_new_tokens=2, draft_tokens=1)
        a, b = [i for r in rounds for i in r.ids]
        seen[a, b] += 1

    @torch.no_grad()
    def pairs(m):
        def after(ids):
            return adjust(m(torch.tensor([ids]))[:, -1], [Sampling(**setting)], none, none).softmax(1)[0]

        return torch.stack([after([2])[a] * after([2, a]) for a in range(4)])

    def p_value(expected):
        often = expected * n >= 5  # chi-square wants that of every cell
        cells = [torch.cat([t[often], t[~often].sum()[None]]) for t in (seen.double(), expected.double() * n)]
        cells = [t[cells[1] > 0] for t in cells]
        return stats.chisquare(cells[0].numpy(), cells[1].numpy() * (n / cells[1].sum().item())).pvalue

    assert not seen[pairs(model) == 0].any()
    assert p_value(pairs(model)) > 0.001
    assert p_value(pairs(draft) + 1e-9) < 1e-9


def test_a_draft_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="the draft knows 5 ids and the model 7"):
        next(speculate(tiny(0), tiny(0, v=5), [1], GREEDY))
