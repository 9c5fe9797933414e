"""Text out of tokens, against decoding everything first and looking then."""

import codecs

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.model.config import Config
from llmcore.model.transformer import MiniGPT
from llmcore.sampling.settings import GREEDY, Sampling
from llmcore.sampling.text import UntilStop, complete, stream
from llmcore.tokenizers.bpe import BPE

END = 250  # a stop id of the tests below


class Scripted:
    """In place of a model: row r is certain to go on with scripts[r]."""

    def __init__(self, scripts, vocab_size):
        self.embedding = torch.nn.Embedding(1, 1)
        self.scripts, self.vocab_size, self.step = scripts, vocab_size, 0

    def new_cache(self, batch, capacity):
        assert batch == len(self.scripts)

    def __call__(self, ids, cache, positions=None, last_only=False):
        logits = torch.zeros(len(ids), 1, self.vocab_size)
        for row, script in enumerate(self.scripts):
            logits[row, 0, script[min(self.step, len(script) - 1)]] = 50.0
        self.step += 1
        return logits


def bpe_of(pieces):
    return BPE(dict(enumerate(pieces)), [], "gpt2", {"<|end|>": END})


def whole_words(*words):
    return bpe_of([word.encode() for word in words])


def answered(script, bpe, stop=(), stop_ids=frozenset(), n=None):
    model = Scripted([script], END + 1)
    return list(stream(model, bpe, [[0]], GREEDY, n or len(script), stop, stop_ids))


def complete_first(text, stops):
    """(start, end) of the stop string that is complete first, the longest of several; None if there is none."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return min(starts), end
    return None


def decode(pieces, ids, final):
    return codecs.getincrementaldecoder("utf-8")("replace").decode(b"".join(pieces[i] for i in ids), final)


def expected(pieces, script, stops, n):
    """What is given out after each token, how many tokens are drawn, and why it ends."""
    given_out = []
    for count in range(1, n + 1):
        if script[count - 1] == END:
            text, reason = decode(pieces, script[: count - 1], final=True), "stop"
        elif count == n:
            text, reason = decode(pieces, script[:count], final=True), "length"
        else:
            text, reason = decode(pieces, script[:count], final=False), None
        if found := complete_first(text, stops):
            return [*given_out, text[: found[0]]], count, "stop string"
        if reason:
            return [*given_out, text], count, reason
        held = max((k for stop in stops for k in range(len(stop)) if text.endswith(stop[:k])), default=0)
        given_out.append(text[: len(text) - held])
    raise AssertionError


# Few characters, of one to four bytes, cut anywhere: so that stop strings, and halves of characters, do come up.
LETTERS = "ab\u00e9\u20ac\U0001d11e"
BYTES = st.text(LETTERS, min_size=1, max_size=3).map(str.encode)
PIECES = st.lists(
    st.one_of(BYTES, BYTES.flatmap(lambda b: st.integers(0, len(b) - 1).map(lambda i: b[i:]))),
    min_size=3,
    max_size=8,
    unique=True,
)
STOPS = st.lists(st.text(LETTERS + "\ufffd", min_size=1, max_size=4), max_size=3)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), pieces=PIECES)
def test_what_comes_out_is_what_decoding_everything_says(data, pieces):
    rows = data.draw(st.integers(1, 3))
    n = data.draw(st.integers(1, 9))
    token = st.one_of(st.integers(0, len(pieces) - 1), st.integers(0, len(pieces) - 1), st.just(END))
    scripts = [data.draw(st.lists(token, min_size=n, max_size=n)) for _ in range(rows)]
    stops = [data.draw(STOPS) for _ in range(rows)]
    model = Scripted(scripts, END + 1)
    events = list(stream(model, bpe_of(pieces), [[0]] * rows, GREEDY, n, stops, {END}))
    drawn = 0
    for row in range(rows):
        after, count, reason = expected(pieces, scripts[row], stops[row], n)
        mine = [event for event in events if event.row == row]
        text, tokens, places = "", [], []
        for event in mine:
            text, tokens = text + event.text, tokens + [t.id for t in event.tokens]
            assert after[len(tokens) - 1] == text
            places.append(len(tokens))
        before = ["", *after]  # a piece as soon as something is certain, and no piece where nothing is
        assert places == [k for k in range(1, count + 1) if after[k - 1] != before[k - 1] or k == count]
        assert tokens == scripts[row][:count]
        assert [event.reason for event in mine] == [None] * (len(mine) - 1) + [reason]
        drawn = max(drawn, count)
    assert model.step == drawn  # and not one pass more than the longest row needs


def test_a_stop_string_over_three_tokens_never_shows():
    bpe = whole_words("I am <", "|e", "nd|", "> done", "<|", "x")
    pieces = answered([0, 1, 2, 3], bpe, ["<|end|>"])
    assert [(p.text, p.reason) for p in pieces] == [("I am ", None), ("", "stop string")]
    assert [t.id for p in pieces for t in p.tokens] == [0, 1, 2, 3]
    assert [p.text for p in answered([4, 5, 0], bpe, ["<|end|>"])] == ["<|x", "I am <"]  # it was none after all


def test_a_stop_string_inside_the_first_token():
    assert answered([0, 0], whole_words("no. Yes"), ["."]) == answered([0], whole_words("no. Yes"), ["."])
    (piece,) = answered([0, 0], whole_words("no. Yes"), ["."])
    assert (piece.text, piece.reason) == ("no", "stop string")
    (piece,) = answered([0], whole_words(".!"), ["."])
    assert (piece.text, piece.reason) == ("", "stop string")


def test_of_two_stop_strings_the_one_complete_first_counts():
    letters = whole_words("a", "b", "c", "d")
    for stops in (["bc", "bcd"], ["bcd", "bc"]):  # one is the beginning of the other
        got = complete(Scripted([[0, 1, 2, 3]], END + 1), letters, [[0]], max_new_tokens=4, stop=stops)
        assert (got[0].text, got[0].reason, len(got[0].tokens)) == ("a", "stop string", 3)
    got = complete(Scripted([[0, 1, 2, 3]], END + 1), letters, [[0]], max_new_tokens=4, stop=["abcd", "bc"])
    assert (got[0].text, len(got[0].tokens)) == ("a", 3)
    got = complete(Scripted([[0, 1, 2, 3]], END + 1), letters, [[0]], max_new_tokens=4, stop=["c", "bc", "x"])
    assert (got[0].text, len(got[0].tokens)) == ("a", 3)


def test_a_stop_string_that_is_longer_than_the_answer():
    got = complete(Scripted([[0, 1]], END + 1), whole_words("a", "b"), [[0]], max_new_tokens=2, stop=["ab" * 1000])
    assert (got[0].text, got[0].reason) == ("ab", "length")  # all of it was held back, and given out at the end


def test_half_a_character_at_the_end_is_marked():
    half = bpe_of([b"x", "€".encode()[:2]])
    assert [p.text for p in answered([0, 1], half)] == ["x", "\ufffd"]
    assert [p.text for p in answered([1, END, 0], half, stop_ids={END})] == ["\ufffd"]
    (piece,) = answered([0, 1], half, ["x\ufffd"])  # and the mark may be what a stop string waited for
    assert (piece.text, piece.reason) == ("", "stop string")


def test_each_row_has_its_own_stop_strings_and_ends_by_itself():
    bpe = whole_words("a", "b", "c")
    scripts = [[0, 1, 2, 0, 1], [0, 1, 2, 0, END], [2, 2, 2, 2, 2]]
    got = complete(Scripted(scripts, END + 1), bpe, [[0]] * 3, GREEDY, 5, [["c"], [], ["b", "bc"]], {END})
    assert [(each.text, each.reason) for each in got] == [("ab", "stop string"), ("abca", "stop"), ("ccccc", "length")]
    assert [len(each.tokens) for each in got] == [3, 5, 5]
    everywhere = complete(Scripted(scripts, END + 1), bpe, [[0]] * 3, GREEDY, 5, ["b", "cc"])
    assert [each.text for each in everywhere] == ["a", "a", ""]


def test_what_cannot_be_meant_is_refused():
    bpe, model = whole_words("a"), Scripted([[0], [0]], END + 1)
    with pytest.raises(ValueError, match="a stop string is empty"):
        stream(model, bpe, [[0], [0]], stop=["a", ""])
    with pytest.raises(TypeError, match="put a single one in a list"):
        stream(model, bpe, [[0], [0]], stop="a")
    with pytest.raises(TypeError, match="put a single one in a list"):
        stream(model, bpe, "a")
    with pytest.raises(TypeError, match="not both"):
        stream(model, bpe, [[0], [0]], stop=["a", ["b"]])
    with pytest.raises(ValueError, match="2 prompts and stop strings for 3"):
        stream(model, bpe, [[0], [0]], stop=[["a"], ["b"], []])
    assert complete(model, bpe, [[0], [0]], max_new_tokens=0) == [("", [], "length")] * 2


def test_feeding_on_after_the_stop_gives_nothing():
    until = UntilStop(["ab"])
    assert [until.feed(text) for text in ("xa", "by", "more")] == ["x", "", ""]
    assert (until.found, until.flush()) == ("ab", "")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    made = MiniGPT(Config(256, 60, 24, 2, 4, n_kv_heads=2, position="rope", norm="rmsnorm", mlp="swiglu", d_ff=20))
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(6 if p.ndim > 1 else 1)
    return made.eval()


def test_a_text_prompt_is_its_ids_and_spells_no_special_token(model):
    bpe = BPE({i: bytes([i]) for i in range(255)}, [], "gpt2", {"<|x|>": 255})
    text, rows = "say <|x|>é", [Sampling(seed=3), Sampling(temperature=2.0, seed=5)]
    of_text = complete(model, bpe, [text, "b"], rows, 12)
    assert of_text == complete(model, bpe, [list(text.encode()), [98]], rows, 12)
    assert of_text[0].text == bpe.decode(t.id for t in of_text[0].tokens)


def test_logprobs_are_those_of_the_model_whatever_the_settings(model):
    bpe = BPE({i: bytes([i]) for i in range(256)}, [], "gpt2")
    prompts = [[5, 1, 9], [7]]
    rows = [Sampling(temperature=0.2, top_k=3, logit_bias={66: 30.0}, seed=2), Sampling(repetition_penalty=4.0, seed=1)]
    got = complete(model, bpe, prompts, rows, max_new_tokens=6, top_logprobs=3)
    for prompt, answer in zip(prompts, got, strict=True):
        ids = list(prompt)
        for token in answer.tokens:
            with torch.no_grad():
                want = model(torch.tensor([ids]))[0, -1].log_softmax(-1)
            assert token.logprob == pytest.approx(want[token.id].item(), abs=1e-4)
            assert [i for i, _ in token.top] == want.topk(3).indices.tolist()
            assert [p for _, p in token.top] == pytest.approx(want.topk(3).values.tolist(), abs=1e-4)
            ids.append(token.id)
    assert any(token.id not in [i for i, _ in token.top] for answer in got for token in answer.tokens)
    every = complete(model, bpe, [[5]], GREEDY, 1, top_logprobs=999)[0].tokens[0].top
    assert sorted(i for i, _ in every) == list(range(256))
