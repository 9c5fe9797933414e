"""Wrong versions of lab 0.1: the spec must catch each, and the diagnosis name it.  The mildest form of each mistake."""

import math

import torch

from labkit.spec import alike, mistake

# ---- tokens


@mistake("tokens", says="A token may be part of a character: decode shows � for it. Its bytes come from decode_bytes.")
def half_characters_lost(tokenizer, text):
    return [(i, tokenizer.decode([i]).encode()) for i in tokenizer.encode(text)]


@mistake("tokens", says="The pieces are strings; they must be bytes, because a token may be part of a character.")
def pieces_as_text(tokenizer, text):
    return [(i, tokenizer.decode([i])) for i in tokenizer.encode(text)]


@mistake("tokens", says="Each byte is encoded by itself, so nothing is merged: the tokenizer must see the whole text.")
def byte_by_byte(tokenizer, text):
    byte_ids = {piece: i for i, piece in tokenizer.vocab.items()}
    return [(byte_ids[bytes([b])], bytes([b])) for b in text.encode()]


@mistake("tokens", says="The text is cut at white space before the tokenizer sees it; spaces are part of its tokens.")
def split_into_words(tokenizer, text):
    return [(i, tokenizer.decode_bytes([i])) for word in text.split() for i in tokenizer.encode(word)]


@mistake(
    "tokens", says="The text is cut at each single space; a run of spaces can be a token, and only the tokenizer knows."
)
def cut_at_each_space(tokenizer, text):
    words = text.split(" ")
    words = [words[0], *(" " + word for word in words[1:])]
    return [(i, tokenizer.decode_bytes([i])) for word in words for i in tokenizer.encode(word)]


@mistake("tokens", says="The white space of a piece is stripped: put together, the pieces are no longer the text.")
def pieces_stripped(tokenizer, text):
    return [(i, tokenizer.decode_bytes([i]).strip()) for i in tokenizer.encode(text)]


@mistake("tokens", says="The pairs are the wrong way round: first the id, then the bytes.")
def bytes_before_id(tokenizer, text):
    return [(tokenizer.decode_bytes([i]), i) for i in tokenizer.encode(text)]


@mistake("tokens", says="A token that comes twice is listed once.")
def each_token_once(tokenizer, text):
    return list({i: tokenizer.decode_bytes([i]) for i in tokenizer.encode(text)}.items())


@mistake("tokens", says="Only the ids: each goes with the bytes that it stands for.")
def ids_alone(tokenizer, text):
    return tokenizer.encode(text)


# ---- next_token


@mistake("next_token", says="These are logits. A softmax over the vocabulary makes them probabilities.")
def raw_logits(model, ids, n):
    return _best(_logits(model, ids)[-1], n)


@mistake("next_token", says="The logits of the first position: they say what follows the first token, not the text.")
def first_position(model, ids, n):
    return _best(_logits(model, ids)[0].softmax(-1), n)


@mistake("next_token", says="The model was shown the last token alone, so it guesses without the text.")
def last_token_alone(model, ids, n):
    return _best(_logits(model, ids[-1:])[-1].softmax(-1), n)


@mistake("next_token", says="The softmax runs over the positions of the text instead of over the vocabulary.")
def softmax_over_positions(model, ids, n):
    return _best(_logits(model, ids).softmax(0)[-1], n)


@mistake(
    "next_token", says="The softmax is taken over the best n only, so their shares sum to 1: cut after it, not before."
)
def share_among_the_best(model, ids, n):
    best = _logits(model, ids)[-1].topk(n)
    return list(zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True))


@mistake("next_token", says="These are log-probabilities; a probability lies between 0 and 1.")
def log_probabilities(model, ids, n):
    return _best(_logits(model, ids)[-1].log_softmax(-1), n)


@mistake("next_token", says="A sigmoid judges each token by itself; only a softmax makes shares of one whole.")
def sigmoid(model, ids, n):
    return _best(_logits(model, ids)[-1].sigmoid(), n)


@mistake("next_token", says="Averaged over all positions: only the last one is about what comes next.")
def mean_of_all_positions(model, ids, n):
    return _best(_logits(model, ids).softmax(-1).mean(0), n)


@mistake("next_token", says="The right tokens, worst first: the most likely one stands at the front.")
def worst_first(model, ids, n):
    return _best(_logits(model, ids)[-1].softmax(-1), n)[::-1]


@mistake("next_token", says="The least likely tokens instead of the most likely ones.")
def least_likely(model, ids, n):
    worst = _logits(model, ids)[-1].softmax(-1).topk(n, largest=False)
    return list(zip(worst.indices.tolist(), worst.values.tolist(), strict=True))


@mistake("next_token", says="The pairs are the wrong way round: first the id, then its probability.")
def probability_before_id(model, ids, n):
    return [(p, i) for i, p in _best(_logits(model, ids)[-1].softmax(-1), n)]


@mistake("next_token", says="The position before the last: it is about the last token, which is there already.")
def position_before_the_last(model, ids, n):
    return _best(_logits(model, ids)[max(len(ids) - 2, 0)].softmax(-1), n)


# ---- surprise


@mistake(
    "surprise", says="Each token is looked up in its own row, after the model has read it; its row is the one before."
)
def no_shift(model, ids):
    return _bits(_logits(model, ids).log_softmax(-1)[1:], ids[1:])


@mistake(
    "surprise",
    says="No shift: each token is looked up in its own row, and that is about the next token.",
)
def no_shift_and_one_too_many(model, ids):
    return _bits(_logits(model, ids).log_softmax(-1), ids)


@mistake(
    "surprise",
    says="No shift: row t is about the token at t + 1, and is asked for the one at t.",
)
def no_shift_without_the_last(model, ids):
    return _bits(_logits(model, ids).log_softmax(-1), ids[:-1])


@mistake("surprise", says="Shifted the wrong way: row t + 1 is asked for the token at t.")
def shifted_the_wrong_way(model, ids):
    return _bits(_logits(model, ids).log_softmax(-1)[1:], ids[:-1])


@mistake("surprise", says="These are nats: divide by ln 2 for bits.")
def nats(model, ids):
    return [b * math.log(2) for b in _right(model, ids)]


@mistake(
    "surprise",
    says="Multiplied by ln 2 where it must be divided: a bit is ln 2 nats, so there are more bits than nats.",
)
def multiplied_by_ln_2(model, ids):
    return [b * math.log(2) ** 2 for b in _right(model, ids)]


@mistake("surprise", says="The sign: a log-probability is below 0, its surprise above.")
def negative(model, ids):
    return [-b for b in _right(model, ids)]


@mistake("surprise", says="The first token has a number too; nothing stands before it, so the model never guessed it.")
def first_token_counted(model, ids):
    return [0.0, *_right(model, ids)]


@mistake(
    "surprise", says="The probability of an unlikely token is 0 in float32, and its logarithm -inf: use log_softmax."
)
def logarithm_of_zero(model, ids):
    p = _logits(model, ids).softmax(-1)
    return [-math.log2(x) if (x := p[t, i].item()) else math.inf for t, i in enumerate(ids[1:])]


@mistake("surprise", says="These are probabilities; surprise is their negative logarithm to base 2.")
def plain_probabilities(model, ids):
    return [2**-b for b in _right(model, ids)]


@mistake("surprise", says="One number for the whole text, the mean; each token has its own.")
def mean_surprise(model, ids):
    b = _right(model, ids)
    return sum(b) / max(len(b), 1)


@mistake("surprise", says="The surprise of the token that the model liked best, not of the one that came.")
def of_the_best_guess(model, ids):
    return (-_logits(model, ids).log_softmax(-1).amax(-1) / math.log(2)).tolist()[:-1]


@mistake("surprise", says="Each guess was made from one token, without the text before it.")
def one_token_of_context(model, ids):
    return [_bits(_logits(model, [a]).log_softmax(-1), [b])[0] for a, b in zip(ids, ids[1:], strict=False)]


@mistake("surprise", says="The softmax runs over the positions of the text instead of over the vocabulary.")
def surprise_over_positions(model, ids):
    return _bits(_logits(model, ids).log_softmax(0), ids[1:])


# ---- who_looks


@mistake("who_looks", says="Layer and head have changed places.")
def layer_and_head_swapped(model, ids, layer, head):
    return _maps(model, ids)[head, 0, layer]


@mistake("who_looks", says="Transposed: rows must be the tokens that look, columns those that are looked at.")
def looked_at_in_rows(model, ids, layer, head):
    return _maps(model, ids)[layer, 0, head].T


@mistake("who_looks", says="The mean of all heads of the layer; one head was asked for.")
def mean_of_heads(model, ids, layer, head):
    return _maps(model, ids)[layer, 0].mean(0)


@mistake("who_looks", says="The mean of this head over all layers; one layer was asked for.")
def mean_of_layers(model, ids, layer, head):
    return _maps(model, ids)[:, 0, head].mean(0)


@mistake("who_looks", says="Always the first head of the layer: `head` is not used.")
def always_the_first_head(model, ids, layer, head):
    return _maps(model, ids)[layer, 0, 0]


@mistake("who_looks", says="Layers and heads are counted from 0 here, not from 1.")
def counted_from_one(model, ids, layer, head):
    return _maps(model, ids)[layer - 1, 0, head - 1]


@mistake("who_looks", says="The batch is still there, as a dimension of size 1: your batch has one text, take it.")
def batch_left_in(model, ids, layer, head):
    return _maps(model, ids)[layer, :, head]


@mistake("who_looks", says="The second dimension is the batch, not the head: (layers, batch, heads, T, T).")
def head_in_place_of_the_batch(model, ids, layer, head):
    return _maps(model, ids)[layer, head]


@mistake("who_looks", says="The last row alone, where the last token looks; all tokens were asked for.")
def last_row_alone(model, ids, layer, head):
    return _maps(model, ids)[layer, 0, head, -1]


# ---- write


@mistake("write", says="The prompt is in the answer, too; only the new tokens were asked for.")
def prompt_returned(model, ids, n):
    return list(ids) + _greedy(model, ids, n)


@mistake("write", says="The model is shown its last token alone, so each new token is guessed without the text.")
def writes_from_the_last_token(model, ids, n):
    return _greedy(model, ids, n, seen=lambda text: text[-1:])


@mistake("write", says="The new token is never put behind the text, so the same guess is made n times.")
def text_never_grows(model, ids, n):
    return [int(_logits(model, ids)[-1].argmax()) for _ in range(n)]


@mistake("write", says="After the first new token the prompt is forgotten: the model goes on from the new ones alone.")
def prompt_forgotten(model, ids, n):
    return _greedy(model, ids, n, seen=lambda text: text[len(ids) :] or text)


@mistake("write", says="The caller's list has grown: copy ids before you append to it.")
def grows_the_prompt(model, ids, n):
    T = len(ids)
    for _ in range(n):
        ids.append(int(_logits(model, ids)[-1].argmax()))
    return ids[T:]


@mistake(
    "write", says="The first position's logits are about the second token of the text; the last position's are new."
)
def writes_from_the_first_position(model, ids, n):
    return _greedy(model, ids, n, position=0)


@mistake("write", says="The next token is drawn at random; here it is always the most likely one.")
def samples(model, ids, n):
    text = list(ids)
    for _ in range(n):
        text.append(int(torch.multinomial(_logits(model, text)[-1].softmax(-1), 1)))
    return text[len(ids) :]


@mistake("write", says="For n = 0, text[-n:] is all of the text: -0 is 0. Count from the front, text[len(ids):].")
def last_none_is_all(model, ids, n):
    return (list(ids) + _greedy(model, ids, n))[-n:]


@mistake("write", says="It stops when a token would follow itself; n tokens were asked for, and repeats are allowed.")
def stops_at_a_repeat(model, ids, n):
    text = list(ids)
    for _ in range(n):
        best = int(_logits(model, text)[-1].argmax())
        if best == text[-1]:
            break
        text.append(best)
    return text[len(ids) :]


@mistake("write", says="A token is not allowed to follow itself; the most likely token counts, repeated or not.")
def never_the_same_again(model, ids, n):
    text = list(ids)
    for _ in range(n):
        logits = _logits(model, text)[-1].clone()
        logits[text[-1]] = -math.inf
        text.append(int(logits.argmax()))
    return text[len(ids) :]


@mistake("write", says="One token too many.")
def one_too_many(model, ids, n):
    return _greedy(model, ids, n + 1)


@mistake("write", says="One token too few.")
def one_too_few(model, ids, n):
    return _greedy(model, ids, n - 1)


@mistake(
    "write", says="The right tokens, but the last of them is fed to the model too, and nobody asks what follows it."
)
def one_pass_too_many(model, ids, n):
    text = list(ids)
    logits = _logits(model, text)
    for _ in range(n):
        text.append(int(logits[-1].argmax()))
        logits = _logits(model, text)
    return text[len(ids) :]


@mistake("write", says="A cache is in use already: that is the next task. Here each pass reads all there is so far.")
def cached_already(model, ids, n):
    return _cached(model, ids, n)


# ---- write_cached


@mistake(
    "write_cached", says="The right tokens, but all the text is fed again for each of them: the cache is not used."
)
def no_cache(model, ids, n):
    return _greedy(model, ids, n)


@mistake(
    "write_cached",
    says="The new token meets no cache, or an empty one: the model has forgotten all that came before it.",
)
def cache_left_out(model, ids, n):
    return _greedy(model, ids, n, seen=lambda text: text if len(text) == len(ids) else text[-1:])


@mistake(
    "write_cached", says="The whole text is fed again although the cache holds it: to the model it stands there twice."
)
def all_fed_again(model, ids, n):
    cache, text = model.new_cache(1, n * len(ids) + n * n), list(ids)
    for _ in range(n):
        text.append(int(model(torch.tensor([text]), cache)[0, -1].argmax()))
    return text[len(ids) :]


@mistake("write_cached", says="The prompt's last token is fed twice: its logits were there already, after the prompt.")
def last_of_the_prompt_twice(model, ids, n):
    cache = model.new_cache(1, len(ids) + n + 1)
    if n:
        model(torch.tensor([ids]), cache)
    new, written = [ids[-1]], []
    while len(written) < n:
        new = [int(model(torch.tensor([new]), cache)[0, -1].argmax())]
        written += new
    return written


@mistake(
    "write_cached", says="The right tokens, but the last of them is fed to the model too, and nobody asks what follows."
)
def last_one_fed_too(model, ids, n):
    cache, written = model.new_cache(1, len(ids) + n), []
    if n == 0:
        return []
    logits = model(torch.tensor([ids]), cache)
    while len(written) < n:
        written.append(int(logits[0, -1].argmax()))
        logits = model(torch.tensor([written[-1:]]), cache)
    return written


@mistake("write_cached", says="The cache has room for the prompt only: it must hold the new tokens, too.")
def cache_too_small(model, ids, n):
    return _cached(model, ids, n, room=0)


@mistake("write_cached", says="The prompt is in the answer, too; only the new tokens were asked for.")
def cached_prompt_returned(model, ids, n):
    return list(ids) + _cached(model, ids, n)


@mistake("write_cached", says="For n = 0, text[-n:] is all of the text: -0 is 0. Count from the front instead.")
def cached_last_none_is_all(model, ids, n):
    return (list(ids) + _cached(model, ids, n))[-n:]


@mistake("write_cached", says="Each new token is told that it stands at position 0; the cache knows where it goes on.")
def positions_start_again(model, ids, n):
    cache, new, written = model.new_cache(1, len(ids) + n), list(ids), []
    while len(written) < n:
        new = [int(model(torch.tensor([new]), cache, torch.arange(len(new))[None])[0, -1].argmax())]
        written += new
    return written


@mistake(
    "write_cached",
    says="The first position's logits: after the prompt, only the last position's are about what is new.",
)
def cached_first_position(model, ids, n):
    return _cached(model, ids, n, position=0)


@mistake("write_cached", says="The caller's list has grown: copy ids before you append to it.")
def cached_grows_the_prompt(model, ids, n):
    T = len(ids)
    ids += _cached(model, ids, n)
    return ids[T:]


@mistake("write_cached", says="The prompt is fed although no new token is asked for: nothing is to be fed for n = 0.")
def reads_for_nothing(model, ids, n):
    if n == 0:
        model(torch.tensor([ids]), model.new_cache(1, len(ids)))
    return _cached(model, ids, n)


# ---- the same mistakes in other words: each must be caught, and named as the one it is


@alike("half_characters_lost")
def text_and_back(tokenizer, text):
    return [(i, bytes(tokenizer.decode([i]), "utf-8")) for i in tokenizer.encode_ordinary(text)]


@alike("byte_by_byte")
def bytes_through_the_tokenizer(tokenizer, text):
    by_piece = dict(zip(tokenizer.vocab.values(), tokenizer.vocab, strict=True))
    out = []
    for c in text:
        for b in c.encode("utf-8"):
            out += [[by_piece[b.to_bytes(1, "big")], b.to_bytes(1, "big")]]
    return out


@alike("split_into_words")
def word_by_word(tokenizer, text):
    found = []
    for word in text.split():
        ids = tokenizer.encode(word)
        found.extend(zip(ids, map(tokenizer.vocab.get, ids), strict=True))
    return found


@alike("raw_logits")
def sorts_scores(model, ids, n):
    scores = model(torch.tensor(ids).unsqueeze(0))[0, len(ids) - 1].tolist()
    return sorted(enumerate(scores), key=lambda pair: -pair[1])[:n]


@alike("first_position")
def takes_row_zero(model, ids, n):
    p = torch.softmax(model(torch.tensor([ids])), dim=2)[0][0].numpy()
    return [(int(i), float(p[i])) for i in (-p).argsort()[:n]]


@alike("softmax_over_positions")
def normalises_each_column(model, ids, n):
    e = model(torch.tensor([ids])).double().exp()
    p = (e / e.sum(1, keepdim=True))[0, -1].float()
    order = p.sort(descending=True)
    return [(i, v) for i, v in zip(order.indices.tolist()[:n], order.values.tolist()[:n], strict=True)]


@alike("no_shift")
def cross_entropy_of_itself(model, ids):
    loss = torch.nn.functional.cross_entropy(model(torch.tensor([ids]))[0], torch.tensor(ids), reduction="none")
    return (loss / math.log(2)).tolist()[1:]


@alike("nats")
def loss_per_token(model, ids):
    z = model(torch.tensor([ids]))[0, :-1]
    return torch.nn.functional.cross_entropy(z, torch.tensor(ids[1:], dtype=torch.long), reduction="none").tolist()


@alike("layer_and_head_swapped")
def head_first(model, ids, layer, head):
    layer, head = head, layer
    return model.attention_weights(torch.tensor([ids])).squeeze(1)[layer][head]


@alike("looked_at_in_rows")
def keys_in_rows(model, ids, layer, head):
    return torch.einsum("lbhqk->lbhkq", model.attention_weights(torch.tensor([ids])))[layer, 0, head]


@alike("text_never_grows")
def one_pass_for_all(model, ids, n):
    best = []
    for _ in range(n):
        best.append(model(torch.tensor([ids]), last_only=True).argmax().item())
    return best


@alike("writes_from_the_last_token")
def a_walk_from_token_to_token(model, ids, n):
    out, last = [], ids[-1]
    for _ in range(n):
        last = model(torch.tensor([[last]])).flatten().argmax().item()
        out.append(last)
    return out


@alike("last_of_the_prompt_twice")
def fills_the_cache_first(model, ids, n):
    if n == 0:
        return []
    cache = model.new_cache(1, 2 * (len(ids) + n))
    model.hidden(torch.tensor([ids]), cache)
    out = list(ids)
    for _ in range(n):
        out.append(model(torch.tensor([[out[-1]]]), cache).argmax().item())
    return out[-n:]


@alike("cache_left_out")
def new_cache_each_step(model, ids, n):
    new, written = list(ids), []
    while len(written) < n:
        new = [int(model(torch.tensor([new]), model.new_cache(1, len(ids) + n))[0, -1].argmax())]
        written += new
    return written


@alike("all_fed_again")
def cache_and_text(model, ids, n):
    cache, out = model.new_cache(1, 999), []
    for _ in range(n):
        out = [*out, model(torch.tensor([ids + out]), cache, last_only=True).argmax().item()]
    return out


# ---- the parts they share


def _logits(model, ids):
    return model(torch.tensor([ids]))[0]


def _maps(model, ids):
    return model.attention_weights(torch.tensor([ids]))


def _best(scores, n):
    best = scores.topk(n)
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def _bits(log_p, ids):
    return [-log_p[t, i].item() / math.log(2) for t, i in enumerate(ids)]


def _right(model, ids):
    return _bits(_logits(model, ids).log_softmax(-1), ids[1:])


def _greedy(model, ids, n, seen=lambda text: text, position=-1):
    text = list(ids)
    for _ in range(n):
        text.append(int(_logits(model, seen(text))[position].argmax()))
    return text[len(ids) :]


def _cached(model, ids, n, room=None, position=-1):
    cache, new, written = model.new_cache(1, len(ids) + (n if room is None else room)), list(ids), []
    while len(written) < n:
        new = [int(model(torch.tensor([new]), cache)[0, position].argmax())]
        written += new
    return written
