"""What people really get wrong in lab 5.4.  Each replaces one function; its task's tests catch it."""

import math
from collections import Counter

import torch
import torch.nn.functional as F

from labkit.spec import alike, mistake

INF = math.inf

# ---- greedy


@mistake("greedy", says="The model is shown the newest token alone: it has to see the whole text each time.")
def shows_only_the_newest(model, prompt, max_new_tokens):
    return _loop(model, prompt, max_new_tokens, show=lambda new: new[-1:] or prompt)


@mistake("greedy", says="After the first token the prompt is forgotten: the model is asked about the new tokens alone.")
def forgets_the_prompt(model, prompt, max_new_tokens):
    return _loop(model, prompt, max_new_tokens, show=lambda new: new or prompt)


@mistake("greedy", says="EOT does not end the text: it goes on until max_new_tokens.")
def never_ends(model, prompt, max_new_tokens):
    return _loop(model, prompt, max_new_tokens, ended=lambda new: False)


@mistake(
    "greedy", says="EOT ends the text but is not kept: then nobody can tell an ended text from one that was cut off."
)
def drops_eot(model, prompt, max_new_tokens):
    new = _loop(model, prompt, max_new_tokens)
    return [token for token in new if token != model.eot]


@mistake("greedy", says="An EOT in the prompt ends the text before it begins: look at the new tokens only.")
def ended_by_the_prompt(model, prompt, max_new_tokens):
    return _loop(model, prompt, max_new_tokens, ended=lambda new: model.eot in prompt + new)


@mistake("greedy", says="It appends to the caller's prompt: the next call gets a prompt that has grown.")
def grows_the_prompt(model, prompt, max_new_tokens):
    new = _loop(model, prompt, max_new_tokens)
    prompt.extend(new)
    return new


@mistake("greedy", says="Only the end of a long text is shown to the model: it has to see all of it, each time.")
def shows_only_the_end(model, prompt, max_new_tokens):
    return _loop(model, prompt, max_new_tokens, show=lambda new: (prompt + new)[-16:])


# ---- scale


@mistake("scale", says="Multiplied by the temperature instead of divided: a low one flattens, a high one sharpens.")
def multiplies_by_temperature(logits, temperature):
    return _scaled(logits, 1 / temperature) if temperature > 0 else _scaled(logits, temperature)


@mistake("scale", says="Temperature 0 is divided by: infinities and NaN. It has a meaning of its own, the best token.")
def divides_by_zero(logits, temperature):
    return logits / temperature if temperature == 0 else _scaled(logits, temperature)


@mistake(
    "scale",
    says="Temperature 0 leaves the logits as they are: that is temperature 1. It should leave the best token alone.",
)
def zero_for_off(logits, temperature):
    return logits if temperature == 0 else _scaled(logits, temperature)


@mistake("scale", says="At temperature 0 all that equal the best survive: greedy takes one, the first.")
def zero_keeps_equals(logits, temperature):
    return logits.masked_fill(logits < logits.max(), -INF) if temperature == 0 else _scaled(logits, temperature)


@mistake("scale", says="The probabilities are divided, not the logits: softmax first undoes nothing, it comes after.")
def scales_probabilities(logits, temperature):
    return logits.softmax(-1) / temperature if temperature > 0 else _scaled(logits, temperature)


@mistake("scale", says="A temperature below 0 turns the order round without a word: raise ValueError.")
def accepts_negative(logits, temperature):
    return logits / temperature if temperature < 0 else _scaled(logits, temperature)


@mistake("scale", says="The caller's logits are divided in place: the next step begins with changed numbers.")
def scales_in_place(logits, temperature):
    return logits.div_(temperature) if temperature > 0 else _scaled(logits, temperature)


# ---- keep_top_k


@mistake("keep_top_k", says="Removed logits are set to 0, which is a logit like any other: they must become -inf.")
def top_k_zeros(logits, k):
    return logits.where(_among_best(logits, k), 0.0)


@mistake("keep_top_k", says="Removed logits are -1e9, not -inf: beside logits that low they are tokens again.")
def top_k_minus_1e9(logits, k):
    return logits.where(_among_best(logits, k), -1e9)


@mistake(
    "keep_top_k",
    says="Of tokens that equal the k-th, some go and some stay, by chance of their place: all of them stay.",
)
def cuts_among_equals(logits, k):
    kept = logits.topk(min(k, len(logits))).indices
    return torch.full_like(logits, -INF).index_put((kept,), logits[kept])


@mistake("keep_top_k", says="A k above the size of the vocabulary breaks: keep everything then.")
def k_beyond_the_vocabulary(logits, k):
    return logits.masked_fill(logits < logits.topk(k).values[-1], -INF)


@mistake("keep_top_k", says="The k-th largest itself goes: only what is *below* it should.")
def drops_the_kth(logits, k):
    kept = logits > logits.topk(min(k, len(logits))).values[-1]
    return logits.masked_fill(~kept, -INF)


# ---- keep_top_p


@mistake(
    "keep_top_p", says="The token that crosses p is dropped, so what stays sums to less than p: it belongs to the set."
)
def drops_the_crossing(logits, p):
    return _nucleus(logits, p, lambda after, before: (after <= p) | (before == 0))


@mistake(
    "keep_top_p",
    says="Where one token alone passes p, none is left: a token stays if the sum *before* it is below p.",
)
def nothing_is_left(logits, p):
    return _nucleus(logits, p, lambda after, before: after <= p)


@mistake("keep_top_p", says="One token too many: the one after the crossing stays, too.")
def one_behind_the_crossing(logits, p):
    return _nucleus(logits, p, lambda after, before: torch.cat([before[:1] < 1, before[:-1] < p]))


@mistake("keep_top_p", says="The sum runs in the order of the vocabulary: sort by probability first.")
def sums_unsorted(logits, p):
    share = logits.softmax(-1)
    return logits.masked_fill((share.cumsum(-1) - share >= p) & (p < 1), -INF)


@mistake(
    "keep_top_p",
    says="The cut is right in the sorted list and applied to the unsorted one: bring it back by the sort's indices.",
)
def cut_not_brought_back(logits, p):
    ordered = logits.softmax(-1).sort(descending=True).values
    return logits.masked_fill((ordered.cumsum(-1) - ordered >= p) & (p < 1), -INF)


@mistake("keep_top_p", says="The cut is brought back the wrong way: write to order[i], do not read from it.")
def cut_brought_back_the_wrong_way(logits, p):
    ordered, order = logits.softmax(-1).sort(descending=True)
    return logits.masked_fill(((ordered.cumsum(-1) - ordered >= p) & (p < 1))[order], -INF)


@mistake("keep_top_p", says="p is taken for the least probability of a single token: it is the sum of those that stay.")
def p_for_each(logits, p):
    return _nucleus(logits, p, lambda after, before: (after - before >= p) | (before == 0))


@mistake("keep_top_p", says="p = 1 drops the tail: in float32 the sum reaches 1 early. 1 has to keep everything.")
def one_drops_the_tail(logits, p):
    ordered, order = logits.softmax(-1).sort(descending=True)
    return logits.index_fill(0, order[ordered.cumsum(-1) - ordered >= p], -INF)


@mistake(
    "keep_top_p", says="The kept logits are replaced by renormalised log-probabilities: they should stay as they are."
)
def renormalises(logits, p):
    return _nucleus(logits, p, lambda after, before: before < p).log_softmax(-1)


# ---- sample


@mistake(
    "sample", says="The cuts come before the temperature: top-p then sums probabilities that are not those of the draw."
)
def cuts_before_temperature(logits, temperature, top_k, top_p, generator):
    return _draw(_scaled(_cut(logits, top_k, top_p), temperature), generator)


@mistake(
    "sample", says="top-p comes before top-k: it sums what top-k is about to remove, and keeps too many of the rest."
)
def top_p_before_top_k(logits, temperature, top_k, top_p, generator):
    return _draw(_cut(_cut(_scaled(logits, temperature), None, top_p), top_k, None), generator)


@mistake("sample", says="Chance comes from torch's global generator: nobody can repeat your draw.")
def ignores_the_generator(logits, temperature, top_k, top_p, generator):
    return _draw(_cut(_scaled(logits, temperature), top_k, top_p), None)


@mistake(
    "sample", says="The generator is set back to its seed in every call: each step draws with the same random number."
)
def seeds_anew(logits, temperature, top_k, top_p, generator):
    generator.manual_seed(generator.initial_seed())
    return _draw(_cut(_scaled(logits, temperature), top_k, top_p), generator)


@mistake("sample", says="With top-k given, top-p is ignored: both cut, one after the other.")
def one_cut_only(logits, temperature, top_k, top_p, generator):
    return _draw(_cut(_scaled(logits, temperature), top_k, top_p if top_k is None else None), generator)


@mistake("sample", says="The temperature is applied twice: once by scale, once more in the softmax.")
def temperature_twice(logits, temperature, top_k, top_p, generator):
    left = _cut(_scaled(logits, temperature), top_k, top_p)
    return _draw(left / temperature if temperature else left, generator)


@mistake("sample", says="It returns the rank of the token among the sorted ones, not its id.")
def rank_for_id(logits, temperature, top_k, top_p, generator):
    return _draw(_cut(_scaled(logits, temperature), top_k, top_p).sort(descending=True).values, generator)


# ---- penalise


@mistake(
    "penalise", says="Negative logits are divided, too, and come nearer to 0: those tokens become *more* probable."
)
def divides_all(logits, text, penalty):
    return _penalised(logits, set(text), lambda x: x / penalty)


@mistake("penalise", says="Everything is multiplied: positive logits grow, and with them the probability of repeating.")
def multiplies_all(logits, text, penalty):
    return _penalised(logits, set(text), lambda x: x * penalty)


@mistake(
    "penalise", says="A token is penalised once for each time it occurs: once is enough, however often it stands there."
)
def once_for_each(logits, text, penalty):
    return _penalised(logits, text, lambda x: torch.where(x > 0, x / penalty, x * penalty))


@mistake("penalise", says="Only the last tokens of the text count as seen: all of them do.")
def only_a_window(logits, text, penalty):
    return _penalised(logits, set(text[-20:]), lambda x: torch.where(x > 0, x / penalty, x * penalty))


@mistake(
    "penalise", says="An empty text breaks: torch.tensor([]) holds floats, which are no indices. Say dtype=torch.long."
)
def breaks_on_nothing(logits, text, penalty):
    seen = torch.tensor(sorted(set(text)))
    new = logits.clone()
    new[seen] = torch.where(new[seen] > 0, new[seen] / penalty, new[seen] * penalty)
    return new


@mistake(
    "penalise", says="Log-probabilities are penalised, not the logits: all of them are negative, so all are multiplied."
)
def penalises_logprobs(logits, text, penalty):
    return _penalised(logits.log_softmax(-1), set(text), lambda x: x * penalty)


@mistake("penalise", says="The caller's logits are changed in place.")
def penalises_in_place(logits, text, penalty):
    return logits.copy_(_penalised(logits, set(text), lambda x: torch.where(x > 0, x / penalty, x * penalty)))


# ---- beam_search


@mistake(
    "beam_search", says="Raw logits are summed, not log-probabilities: sums of different texts cannot be compared then."
)
def sums_logits(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, logprobs=lambda logits: logits)


@mistake("beam_search", says="Only the newest token's log-probability decides: add it to the sum of those before.")
def forgets_the_sum(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, add=lambda sums, new: new + 0 * sums)


@mistake("beam_search", says="Probabilities are summed: of independent steps they multiply, so their logarithms add.")
def sums_probabilities(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, logprobs=lambda logits: logits.softmax(-1))


@mistake(
    "beam_search", says="One softmax runs over all open texts: each text's next token has a distribution of its own."
)
def one_softmax_for_all(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(
        model, prompt, beams, max_new_tokens, length_penalty, logprobs=lambda x: x.flatten().log_softmax(-1).view_as(x)
    )


@mistake(
    "beam_search",
    says="Each text goes on by its own best token: the best extensions are to be found among all texts' together.",
)
def each_its_own_best(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, own=True)


@mistake(
    "beam_search",
    says="An end takes the place of an open text, so the search grows narrower with every text that ends.",
)
def ends_take_places(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, places="shared")


@mistake(
    "beam_search", says="An end counts only if it is among the best `beams` extensions: here every open text may end."
)
def improbable_ends_forgotten(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, places="ends among the best")


@mistake("beam_search", says="Texts are extended beyond their EOT: it is a token like any other here, and must not be.")
def goes_on_after_eot(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, places="no ends")


@mistake("beam_search", says="Texts that are open at the end are thrown away: they compete with those that ended.")
def open_texts_thrown_away(model, prompt, beams, max_new_tokens, length_penalty):
    found = _beams(model, prompt, INF, max_new_tokens, length_penalty, width=beams)
    return [text for text in found if text[0][-1] == model.eot][:beams]


@mistake("beam_search", says="The search stops when the first text has ended: a longer one may still beat it.")
def stops_at_the_first_end(model, prompt, beams, max_new_tokens, length_penalty):
    for n in range(1, max_new_tokens + 1):
        found = _beams(model, prompt, beams, n, length_penalty)
        if any(ids[-1] == model.eot for ids, _ in found):
            break
    return found


@mistake("beam_search", says="The length penalty is ignored.")
def no_length_penalty(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, 0.0)


@mistake("beam_search", says="The length in the penalty includes the prompt: only new tokens count.")
def length_of_the_whole_text(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, extra=len(prompt))


@mistake(
    "beam_search",
    says="This is the penalty of Wu et al., ((5 + length) / 6) ** α: here it is length ** length_penalty.",
)
def penalty_of_wu(model, prompt, beams, max_new_tokens, length_penalty):
    found = _beams(model, prompt, beams, max_new_tokens, length_penalty, extra=5)
    return [(ids, score * 6**length_penalty) for ids, score in found]


@mistake("beam_search", says="The length in the penalty leaves out EOT: it is a token that was written, and counts.")
def length_without_eot(model, prompt, beams, max_new_tokens, length_penalty):
    return _beams(model, prompt, beams, max_new_tokens, length_penalty, extra="eot")


# ---- contrastive_search


@mistake("contrastive_search", says="α and 1 - α are exchanged.")
def alpha_exchanged(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, 1 - alpha, max_new_tokens)


@mistake(
    "contrastive_search",
    says="The mean of the cosines is taken: one old state that is the same is enough to repeat, so the largest counts.",
)
def mean_likeness(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, most=lambda x: x.mean(-1))


@mistake(
    "contrastive_search", says="States are multiplied without being normalised: long ones look alike to everything."
)
def product_for_cosine(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, norm=lambda x: x)


@mistake(
    "contrastive_search",
    says="Likeness is the same for all candidates: compare each one's own state, and with those before it, not with itself.",
)
def compared_with_itself(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, old=lambda s: s)


@mistake("contrastive_search", says="The states of the prompt are left out: the text may repeat what it was asked.")
def prompt_left_out(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, old=lambda s: s[:, len(prompt) : -1])


@mistake(
    "contrastive_search",
    says="The probabilities are made to sum to 1 over the k candidates: they are those of the whole vocabulary.",
)
def renormalised_candidates(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, share=lambda p: p / p.sum())


@mistake("contrastive_search", says="The probability is not weighed by 1 - α.")
def probability_unweighed(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, share=lambda p: p / (1 - alpha) if alpha < 1 else p + INF)


@mistake("contrastive_search", says="Cosines below 0 count as 0: the largest of negative ones is negative.")
def likeness_from_zero(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, most=lambda x: x.amax(-1).clamp(min=0))


@mistake("contrastive_search", says="The absolute cosine is taken: the opposite of an old state is as new as can be.")
def opposite_counts_as_alike(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, most=lambda x: x.abs().amax(-1))


@mistake(
    "contrastive_search",
    says="The next step uses the logits of the most probable candidate, not of the one that was chosen.",
)
def logits_of_another(model, prompt, k, alpha, max_new_tokens):
    return _contrast(model, prompt, k, alpha, max_new_tokens, follow=lambda best: 0)


# ---- distinct


@mistake(
    "distinct",
    says="The average of each text's share: texts that all say the same look diverse then. Pool the n-grams of all texts.",
)
def average_of_texts(texts, n):
    shares = [len(set(g)) / len(g) for g in map(_grams(n), texts) if g]
    return sum(shares) / len(shares) if shares else 0.0


@mistake("distinct", says="An n-gram that two texts share counts twice as different: the set is of all texts together.")
def different_in_each(texts, n):
    grams = [_grams(n)(text) for text in texts]
    return _share(sum(len(set(g)) for g in grams), sum(map(len, grams)))


@mistake("distinct", says="The texts are glued together, so n-grams reach from one into the next.")
def distinct_across_seams(texts, n):
    grams = _grams(n)([token for text in texts for token in text])
    return _share(len(set(grams)), len(grams))


@mistake("distinct", says="Divided by the number of tokens, not of n-grams.")
def divided_by_tokens(texts, n):
    return _share(len({g for t in texts for g in _grams(n)(t)}), sum(map(len, texts)))


# ---- repetition


@mistake("repetition", says="What another text said counts as repetition: only the text's own past does.")
def others_count(texts, n):
    grams = [g for t in texts for g in _grams(n)(t)]
    return _share(len(grams) - len(set(grams)), len(grams))


@mistake(
    "repetition",
    says="The average of each text's share: a text of three tokens weighs as much as a long one. Sum first, divide once.",
)
def repetition_averaged(texts, n):
    shares = [1 - len(set(g)) / len(g) for g in map(_grams(n), texts) if g]
    return sum(shares) / len(shares) if shares else 0.0


@mistake("repetition", says="The first of several equals counts, too: it repeats nothing.")
def the_first_counts(texts, n):
    grams = [_grams(n)(text) for text in texts]
    return _share(sum(c for g in grams for c in Counter(g).values() if c > 1), sum(map(len, grams)))


# ---- overlap


@mistake(
    "overlap",
    says="The wrong way round: it is the share of the real n-grams that were written, which many texts raise.",
)
def wrong_way_round(texts, real, n):
    written = {g for t in texts for g in _grams(n)(t)}
    known = [g for t in real for g in _grams(n)(t)]
    return _share(sum(g in written for g in known), len(known))


@mistake("overlap", says="Each different n-gram counts once: one that is written three times counts three times.")
def different_ones_only(texts, real, n):
    known = {g for t in real for g in _grams(n)(t)}
    written = {g for t in texts for g in _grams(n)(t)}
    return _share(len(written & known), len(written))


@mistake("overlap", says="The real texts are glued together: an n-gram on a seam was never written by anybody.")
def real_across_seams(texts, real, n):
    known = set(_grams(n)([token for t in real for token in t]))
    written = [g for t in texts for g in _grams(n)(t)]
    return _share(sum(g in known for g in written), len(written))


@mistake("overlap", says="An n-gram counts only as often as it is real, as in BLEU: here it counts every time.")
def clipped_as_in_bleu(texts, real, n):
    known = Counter(g for t in real for g in _grams(n)(t))
    written = Counter(g for t in texts for g in _grams(n)(t))
    return _share(sum(min(c, known[g]) for g, c in written.items()), sum(written.values()))


# ---- the same mistakes in other words


@alike("never_ends")
def a_for_loop_without_a_break(model, prompt, max_new_tokens):
    text = list(prompt)
    for _ in range(max_new_tokens):
        text += [model([text])[0].squeeze(0).topk(1).indices.item()]
    return text[len(prompt) :]


@alike("zero_keeps_equals")
def a_tiny_temperature_for_zero(logits, temperature):
    if temperature < 0:
        raise ValueError(temperature)
    return logits / max(temperature, 1e-6)


@alike("cuts_among_equals")
def scatters_the_best(logits, k):
    kept = torch.zeros(len(logits), dtype=torch.bool)
    kept[torch.topk(logits, min(k, logits.numel()))[1]] = True
    return torch.where(kept, logits, torch.tensor(-INF, dtype=logits.dtype))


@alike("drops_the_crossing")
def walks_until_it_would_cross(logits, p):
    if p == 1:
        return logits
    share, mass, out = logits.double().softmax(-1), 0.0, torch.full_like(logits, -INF)
    for i in share.argsort(descending=True).tolist():
        if mass and mass + float(share[i]) > p:
            break
        mass += float(share[i])
        out[i] = logits[i]
    return out


@alike("cuts_before_temperature")
def temperature_in_the_softmax(logits, temperature, top_k, top_p, generator):
    if temperature == 0:
        return int(logits.argmax())
    share = (_cut(logits, top_k, top_p).double() / temperature).softmax(-1)
    u = torch.rand(1, generator=generator, dtype=torch.float64)
    return min(int((share.cumsum(-1) <= u).sum()), len(logits) - 1)


@alike("ignores_the_generator")
def numpy_draws(logits, temperature, top_k, top_p, generator):
    import numpy as np

    share = _cut(_scaled(logits, temperature), top_k, top_p).double().softmax(-1).numpy()
    return int(np.random.default_rng().choice(len(share), p=share / share.sum()))


@alike("compared_with_itself")
def cosine_with_the_whole_text(model, prompt, k, alpha, max_new_tokens):
    text = list(prompt)
    for _ in range(max_new_tokens):
        share = model([text])[0][0].softmax(-1)
        values = {}
        for c in share.topk(k).indices.tolist():
            states = model([[*text, c]])[1][0]
            like = F.cosine_similarity(states, states[-1:], dim=-1).max()
            values[c] = float((1 - alpha) * share[c] - alpha * like)
        text.append(max(values, key=values.get))
        if text[-1] == model.eot:
            break
    return text[len(prompt) :]


@alike("different_in_each")
def one_less_repetition(texts, n):
    again = total = 0
    for text in texts:
        seen = set()
        for i in range(len(text) - n + 1):
            gram = str(text[i : i + n])
            again, total = again + (gram in seen), total + 1
            seen.add(gram)
    return 1 - again / total if total else 0.0


# ---- the parts they share


def _loop(model, prompt, n, show=None, ended=None):
    show, ended = show or (lambda new: prompt + new), ended or (lambda new: model.eot in new[-1:])
    new = []
    while len(new) < n and not ended(new):
        new.append(int(model([show(new)])[0][0].argmax()))
    return new


def _scaled(logits, t):
    if t < 0:
        raise ValueError("below 0")
    if t == 0:
        return logits.where(torch.arange(len(logits)) == logits.argmax(), -INF)
    return logits / t


def _among_best(x, k):
    return x >= x.topk(min(k, len(x))).values[-1]


def _nucleus(logits, p, stays):
    """What stays, told by the sums up to a token and before it; p = 1 keeps all."""
    if p >= 1:
        return logits
    ordered, order = logits.softmax(-1).sort(descending=True)
    after = ordered.cumsum(-1)
    before = torch.cat([after.new_zeros(1), after[:-1]])
    return logits.index_fill(0, order[~stays(after, before)], -INF)


def _cut(logits, k, p):
    if k is not None:
        logits = logits.where(_among_best(logits, k), -INF)
    return logits if p is None else _nucleus(logits, p, lambda after, before: before < p)


def _draw(logits, generator):
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))


def _penalised(logits, seen, change):
    new = logits.clone()
    for i in seen:
        new[i] = change(new[i])
    return new


def _beams(model, prompt, beams, n, penalty, width=None, logprobs=None, add=None, own=False, places="", extra=0):
    """beam_search with one thing wrong."""
    width = width or beams
    logprobs, add = logprobs or (lambda logits: logits.log_softmax(-1)), add or (lambda sums, new: sums + new)
    alive, done = [([], 0.0)], []
    for _ in range(n):
        if not alive:
            break
        sums = torch.tensor([total for _, total in alive])[:, None]
        totals = add(sums, logprobs(model([prompt + ids for ids, _ in alive])[0]))
        rows = [(total, i, token) for i, row in enumerate(totals.tolist()) for token, total in enumerate(row)]
        rows.sort(reverse=True)
        if places in ("shared", "ends among the best"):
            ends = [r for r in rows[:width] if r[2] == model.eot]
        else:
            ends = [r for r in rows if r[2] == model.eot]
        if places == "no ends":
            ends, going = [], rows
        else:
            going = [r for r in rows if r[2] != model.eot]
        if places == "shared":
            going = [r for r in rows[:width] if r[2] != model.eot]
            width -= len(ends)
        if own and len(alive) >= width:
            going = [max(r for r in going if r[1] == i) for i in range(len(alive))]
        done += [([*alive[i][0], token], total) for total, i, token in ends]
        alive = [([*alive[i][0], token], total) for total, i, token in going[:width]]

    def length(ids):
        return len(ids) - (ids[-1] == model.eot) if extra == "eot" else len(ids) + extra

    scored = [(ids, total / max(length(ids), 0.5) ** penalty) for ids, total in done + alive]
    scored.sort(key=lambda text: -text[1])
    return scored if beams == INF else scored[:beams]


def _contrast(model, prompt, k, alpha, n, most=None, norm=None, old=None, share=None, follow=None):
    """contrastive_search with one thing wrong."""
    most, norm = most or (lambda x: x.amax(-1)), norm or (lambda x: F.normalize(x, dim=-1))
    old = old or (lambda s: s[:, :-1])
    share, follow = share or (lambda p: p), follow or (lambda best: best)
    new, logits = [], model([prompt])[0][0]
    while len(new) < n and model.eot not in new[-1:]:
        p, candidates = logits.softmax(-1).topk(k)
        after, states = model([prompt + new + [c] for c in candidates.tolist()])
        states = norm(states)
        cosines = (states[:, -1:] @ old(states).mT)[:, 0]
        like = most(cosines) if cosines.shape[-1] else torch.zeros(k)
        best = int(((1 - alpha) * share(p) - alpha * like).argmax())
        new.append(int(candidates[best]))
        logits = after[follow(best)]
    return new


def _grams(n):
    return lambda text: [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def _share(part, whole):
    return part / whole if whole else 0.0
