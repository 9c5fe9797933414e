"""Sampling against exact distributions, batches against single rows, searches against exhaustive ones."""

import itertools
import math

import pytest
import torch

from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.speculative import speculate, verify
from llmcore.sampling.strategies import (
    GREEDY,
    Sampling,
    adjust,
    beam_search,
    contrastive_search,
    draw,
    generate,
    left_padded,
)

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


def test_verify_gives_exactly_the_models_distribution():
    """One drafted token, over a grid of both random numbers: the first token out is distributed as p, not as q."""
    q, p = torch.tensor([[0.5, 0.3, 0.2, 0.0]]), torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.5, 0.0]])
    n = 40
    first, bonus, kept = torch.zeros(4), torch.zeros(4), 0.0
    for token in range(3):
        for u in grid(n).tolist():
            for w in grid(n):
                out = verify([token], q, p, torch.tensor([u]), w)
                weight = q[0, token].item() / n**2
                first[out.ids[0]] += weight
                kept += weight * out.accepted
                if out.accepted:
                    assert len(out.ids) == 2
                    bonus[out.ids[1]] += weight
    torch.testing.assert_close(first, p[0], atol=0.02, rtol=0)
    torch.testing.assert_close(bonus / bonus.sum(), p[1], atol=0.02, rtol=0)
    assert kept == pytest.approx(torch.minimum(q[0], p[0]).sum().item(), abs=0.02)


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


def test_speculation_follows_the_model_and_not_the_draft():
    model, draft = tiny(11, n_layers=1), tiny(12, n_layers=1)
    n, setting = 400, {"temperature": 1.3, "top_k": 5}
    seen = torch.zeros(V, V)
    for seed in range(n):
        rounds = speculate(model, draft, [2], Sampling(**setting, seed=seed), max_new_tokens=2, draft_tokens=1)
        a, b = [i for r in rounds for i in r.ids]
        seen[a, b] += 1 / n
    none = torch.zeros(1, 0, dtype=torch.long)
    want = torch.zeros(V, V)
    with torch.no_grad():
        first = adjust(model(torch.tensor([[2]]))[:, -1], [Sampling(**setting)], none, none).softmax(1)[0]
        for a in range(V):
            after = adjust(model(torch.tensor([[2, a]]))[:, -1], [Sampling(**setting)], none, none).softmax(1)[0]
            want[a] = first[a] * after
    drafts = adjust(draft(torch.tensor([[2]]))[:, -1], [Sampling(**setting)], none, none).softmax(1)[0]
    assert 0.5 * (seen.sum(1) - want.sum(1)).abs().sum() < 0.07  # total variation; 400 draws give about 0.03
    assert 0.5 * (drafts - want.sum(1)).abs().sum() > 0.2


def test_a_draft_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="the draft knows 5 ids and the model 7"):
        next(speculate(tiny(0), tiny(0, v=5), [1], GREEDY))
