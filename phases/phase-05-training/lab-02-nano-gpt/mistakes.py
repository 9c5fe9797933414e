"""What people really get wrong in lab 5.2.  Each replaces one function; its task's tests catch it."""

import hashlib
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from labkit.spec import alike, mistake

# ---- is_held_out


@mistake(
    "is_held_out",
    says="hash() of a text is another number in every process: what is held out today is trained on tomorrow. Use hashlib.",
)
def held_out_by_pythons_hash(text, share):
    return (hash(text) & 0xFFFFFFFF) / 2**32 < share


@mistake(
    "is_held_out",
    says="Chance decides, not the content: the next run holds out other documents, and copies land on both sides.",
)
def held_out_by_chance(text, share):
    return torch.rand(()).item() < share


@mistake("is_held_out", says="The bytes are read in little-endian order: the first byte of the digest must weigh most.")
def held_out_little_endian(text, share):
    return int.from_bytes(_digest(text)[:8], "little") / 2**64 < share


@mistake("is_held_out", says="Whole percents: the number modulo 100 cannot hold out half a percent.")
def held_out_by_percents(text, share):
    return int(int.from_bytes(_digest(text)[:8], "big") / 2**64 * 100) < int(share * 100)


@mistake(
    "is_held_out", says="The text is stripped or lowered before the hash: other documents are mistaken for this one."
)
def held_out_of_the_stripped_text(text, share):
    return int.from_bytes(_digest(text.strip())[:8], "big") / 2**64 < share


# ---- pack


@mistake("pack", says="One eot for the whole file: the model never learns where a text ends. One behind each document.")
def eot_once_at_the_end(documents, eot, vocab_size):
    row = [i for d in documents for i in d]
    return _row([*row, eot] if row else [], vocab_size)


@mistake(
    "pack",
    says="eot stands between documents only: the last one has no end, and the next file's first text follows it.",
)
def eot_between(documents, eot, vocab_size):
    row = []
    for n, d in enumerate(documents):
        row += [eot, *d] if n else d
    return _row(row, vocab_size)


@mistake("pack", says="Documents without tokens are skipped; they have an end, too.")
def empty_documents_skipped(documents, eot, vocab_size):
    return _row([i for d in documents if len(d) for i in (*d, eot)], vocab_size)


@mistake("pack", says="Always uint16: ids from 65,536 on wrap around to other tokens, in silence.")
def always_uint16(documents, eot, vocab_size):
    return _row(_ids(documents, eot), vocab_size, "uint16")


@mistake("pack", says="The bound is too small: 65,536 ids are 0 to 65,535, and uint16 holds every one.")
def bound_of_65535(documents, eot, vocab_size):
    return _row(_ids(documents, eot), vocab_size, "uint16" if vocab_size < 65_536 else "uint32")


@mistake(
    "pack", says="The ids that occur decide the type: train.bin and val.bin may then differ, and one is read as noise."
)
def type_from_the_ids(documents, eot, vocab_size):
    row = _ids(documents, eot)
    return _row(row, vocab_size, "uint16" if max(row, default=0) < 65_536 else "uint32")


@mistake("pack", says="Python's integers become int64: four times the file.")
def int64(documents, eot, vocab_size):
    return _row(_ids(documents, eot), vocab_size, "int64")


@mistake("pack", says="Ids outside the vocabulary are not refused: astype wraps them around in silence.")
def wraps_in_silence(documents, eot, vocab_size):
    return np.array(_ids(documents, eot), dtype=np.int64).astype("uint16" if vocab_size <= 65_536 else "uint32")


@mistake("pack", says="vocab_size itself is let through: the last id is vocab_size - 1.")
def lets_the_size_through(documents, eot, vocab_size):
    return _row(_ids(documents, eot), vocab_size + 1, "uint16" if vocab_size <= 65_536 else "uint32")


@mistake("pack", says="eot is appended to the caller's documents: the next one who reads them finds it there.")
def appends_to_the_callers(documents, eot, vocab_size):
    row = []
    for d in documents:
        if isinstance(d, list):
            d.append(eot)
            row += d
        else:
            row += [*d, eot]
    return _row(row, vocab_size)


# ---- get_batch


@mistake("get_batch", says="The targets are the inputs: y must be one place ahead of x.")
def not_shifted(tokens, rows, length, seed, step):
    x, _ = _cut(tokens, _starts(tokens, rows, length, seed, step), length)
    return x, x.clone()


@mistake("get_batch", says="The rows are one token short: a window of `length` makes length - 1 pairs. Cut length + 1.")
def one_token_short(tokens, rows, length, seed, step):
    x, y = _cut(tokens, _starts(tokens, rows, length, seed, step), length)
    return x[:, :-1], y[:, :-1]


@mistake(
    "get_batch",
    says="The last place is never a start: integers(n) already leaves n out, so subtract length, not length + 1.",
)
def last_start_left_out(tokens, rows, length, seed, step):
    return _cut(tokens, _starts(tokens, rows, length, seed, step, less=1), length)


@mistake(
    "get_batch", says="Global random numbers: the batch depends on what was drawn before, and no run can be resumed."
)
def global_random_numbers(tokens, rows, length, seed, step):
    if len(tokens) <= length:
        raise ValueError("too short")
    return _cut(tokens, np.random.randint(0, len(tokens) - length, rows), length)


@mistake(
    "get_batch", says="np.random.seed makes the batch repeatable, and resets everybody else's random numbers with it."
)
def seeds_the_global_numbers(tokens, rows, length, seed, step):
    if len(tokens) <= length:
        raise ValueError("too short")
    np.random.seed((seed * 7919 + step) % 2**32)
    return _cut(tokens, np.random.randint(0, len(tokens) - length, rows), length)


@mistake("get_batch", says="The step has no part in it: every step sees the same batch.")
def step_ignored(tokens, rows, length, seed, step):
    return _cut(tokens, _starts(tokens, rows, length, seed, 0), length)


@mistake(
    "get_batch",
    says="seed + step: the run with seed 1 is the run with seed 0, one step ahead. Give default_rng both numbers: [seed, step].",
)
def seed_plus_step(tokens, rows, length, seed, step):
    return _cut(tokens, _starts(tokens, rows, length, 0, seed + step), length)


@mistake("get_batch", says="The tensors are int32; cross_entropy takes int64 targets.")
def batch_of_int32(tokens, rows, length, seed, step):
    x, y = _cut(tokens, _starts(tokens, rows, length, seed, step), length)
    return x.int(), y.int()


@mistake(
    "get_batch",
    says="seed * 1000 + step: after 1,000 steps a run becomes the one with the next seed. Give default_rng [seed, step].",
)
def seed_times_1000(tokens, rows, length, seed, step):
    return _cut(tokens, _starts(tokens, rows, length, 0, seed * 1000 + step), length)


# ---- target_shift


@mistake("target_shift", says="The sign is turned: 2 means that the targets are too far ahead.")
def shift_of_the_inputs(x, y):
    return next((s for s in (-1, 0, -2, 1, -3, 2, 3) if _fits(y, x, s, ignored=x)), None)


@mistake("target_shift", says="Only the first row is looked at.")
def only_the_first_row(x, y):
    return _shift(x[:1], y[:1])


@mistake("target_shift", says="Targets of -100 are compared like others: a masked batch fits nothing.")
def compares_what_does_not_count(x, y):
    return next((s for s in (1, 0, 2, -1, 3, -2, -3) if _fits(x, y, s, ignored=torch.zeros_like(y))), None)


@mistake(
    "target_shift",
    says="If none of the targets that a shift compares counts, all of them agree: it fits, and nothing was tested.",
)
def vacuous_fit(x, y):
    if not (y != -100).any():
        return None
    return next((s for s in (1, 0, 2, -1, 3, -2, -3) if _fits(x, y, s, empty=True)), None)


@mistake("target_shift", says="Rolled instead of cut: the last target is compared with the row's first token.")
def compares_by_rolling(x, y):
    counts = y != -100
    fits = (s for s in (1, 0, 2, -1, 3, -2, -3) if counts.any() and bool((x.roll(-s, 1) == y)[counts].all()))
    return next(fits, None)


@mistake(
    "target_shift",
    says="The shifts are tried from 0 on: for a text in which several fit, a right batch is called wrong.",
)
def tries_zero_first(x, y):
    return next((s for s in (0, 1, -1, 2, -2, 3, -3) if _fits(x, y, s)), None)


# ---- learning_rate


@mistake(
    "learning_rate",
    says="The first step has the learning rate 0 and learns nothing: count it as the first stair, step + 1.",
)
def first_step_wasted(step, peak, warmup, total, final):
    if step >= total:
        return final
    if step < warmup:
        return peak * step / warmup
    return _cosine((step + 1 - warmup) / (total - warmup), peak, final)


@mistake("learning_rate", says="The last step misses the minimum: the cosine is one step behind.")
def cosine_a_step_late(step, peak, warmup, total, final):
    if step >= total:
        return final
    if step < warmup:
        return peak * (step + 1) / warmup
    return _cosine((step - warmup) / (total - warmup), peak, final)


@mistake(
    "learning_rate", says="The cosine begins at step 0, under the warm-up: at its end the rate jumps below the peak."
)
def cosine_from_step_zero(step, peak, warmup, total, final):
    if step >= total:
        return final
    return peak * (step + 1) / warmup if step < warmup else _cosine((step + 1) / total, peak, final)


@mistake("learning_rate", says="It falls to 0 instead of to `final`.")
def falls_to_zero(step, peak, warmup, total, final):
    if step >= total:
        return final
    return peak * (step + 1) / warmup if step < warmup else _cosine((step + 1 - warmup) / (total - warmup), peak, 0.0)


@mistake(
    "learning_rate", says="`final` is added to the whole cosine: the peak is passed. Scale the cosine by peak - final."
)
def final_added_on_top(step, peak, warmup, total, final):
    if step >= total:
        return final
    if step < warmup:
        return peak * (step + 1) / warmup
    return final + _cosine((step + 1 - warmup) / (total - warmup), peak, 0.0)


@mistake("learning_rate", says="After the last step the cosine goes on, and the rate rises again: stay at `final`.")
def rises_after_the_end(step, peak, warmup, total, final):
    if step < warmup:
        return peak * (step + 1) / warmup
    return _cosine((step + 1 - warmup) / max(1, total - warmup), peak, final)


# ---- decay_groups


@mistake("decay_groups", says="Everything decays: gains are pulled towards 0, where they switch their layer off.")
def everything_decays(model, weight_decay):
    return [{"params": list(model.parameters()), "weight_decay": weight_decay}]


@mistake(
    "decay_groups", says="Chosen by name: `weight` is also what a norm calls its gain. The number of dimensions tells."
)
def by_the_name_weight(model, weight_decay):
    return _groups(model, weight_decay, lambda name, p: "weight" in name)


@mistake(
    "decay_groups",
    says="Chosen by name: what is not called `bias` need not be a matrix. The number of dimensions tells.",
)
def by_the_name_bias(model, weight_decay):
    return _groups(model, weight_decay, lambda name, p: "bias" not in name)


@mistake("decay_groups", says="Only parameters of exactly two dimensions decay: a convolution has three or four.")
def exactly_two_dimensions(model, weight_decay):
    return _groups(model, weight_decay, lambda name, p: p.dim() == 2)


@mistake("decay_groups", says="The second group says nothing of weight decay: AdamW then gives it its default, 0.01.")
def default_for_the_rest(model, weight_decay):
    groups = _groups(model, weight_decay, lambda name, p: p.dim() >= 2)
    del groups[1]["weight_decay"]
    return groups


@mistake(
    "decay_groups", says="A tied tensor comes twice, once under each name, and would be updated twice in every step."
)
def tied_twice(model, weight_decay):
    named = list(model.named_parameters(remove_duplicate=False))
    return [
        {"params": [p for _, p in named if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for _, p in named if p.dim() < 2], "weight_decay": 0.0},
    ]


# ---- train_step


@mistake("train_step", says="The learning rate is set after the step: every step uses the one before it.")
def rate_set_too_late(model, optimizer, x, y, lr, clip):
    result = _step(model, optimizer, x, y, None, clip)
    for group in optimizer.param_groups:
        group["lr"] = lr
    return result


@mistake(
    "train_step", says="Only the first group gets the learning rate; the others keep the one that they were made with."
)
def rate_of_the_first_group(model, optimizer, x, y, lr, clip):
    optimizer.param_groups[0]["lr"] = lr
    return _step(model, optimizer, x, y, None, clip)


@mistake("train_step", says="Gradients are never zeroed: each step uses the sum of all gradients so far.")
def never_zeroed(model, optimizer, x, y, lr, clip):
    return _step(model, optimizer, x, y, lr, clip, zero=False)


@mistake(
    "train_step",
    says="Zeroed after the step only: what somebody else left in the gradients before the first step still counts.",
)
def zeroed_afterwards_only(model, optimizer, x, y, lr, clip):
    result = _step(model, optimizer, x, y, lr, clip, zero=False)
    optimizer.zero_grad()
    return result


@mistake("train_step", says="What the optimizer uses was not clipped: clip between backward and step.")
def never_clipped(model, optimizer, x, y, lr, clip):
    return _step(model, optimizer, x, y, lr, math.inf)


@mistake(
    "train_step", says="Each parameter is clipped by its own norm: that turns the direction of the whole gradient."
)
def clipped_one_by_one(model, optimizer, x, y, lr, clip):
    def each(parameters):
        norms = [nn.utils.clip_grad_norm_([p], clip) for p in parameters]
        return torch.stack(norms).norm()

    return _step(model, optimizer, x, y, lr, clip, clipper=each)


@mistake("train_step", says="clip_grad_value_ cuts each number by itself; the norm of all of them together is meant.")
def clipped_by_value(model, optimizer, x, y, lr, clip):
    def values(parameters):
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        nn.utils.clip_grad_value_(parameters, clip)
        return norm

    return _step(model, optimizer, x, y, lr, clip, clipper=values)


@mistake("train_step", says="The norm after clipping is returned: it never shows how large the gradient was.")
def norm_after_clipping(model, optimizer, x, y, lr, clip):
    loss, norm = _step(model, optimizer, x, y, lr, clip)
    return loss, min(norm, clip)


@mistake("train_step", says="Targets of -100 count in the divisor: the loss is a mean over those that count.")
def divides_by_all_targets(model, optimizer, x, y, lr, clip):
    def loss():
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum") / y.numel()

    return _step(model, optimizer, x, y, lr, clip, loss=loss)


@mistake("train_step", says="Shifted once more: x and y are aligned already.")
def shifts_again(model, optimizer, x, y, lr, clip):
    def loss():
        return F.cross_entropy(model(x)[:, :-1].flatten(0, 1), y[:, 1:].flatten())

    return _step(model, optimizer, x, y, lr, clip, loss=loss)


@mistake("train_step", says="A softmax before cross_entropy, which has one of its own: gradients almost vanish.")
def softmax_before_the_loss(model, optimizer, x, y, lr, clip):
    def loss():
        return F.cross_entropy(model(x).softmax(-1).flatten(0, 1), y.flatten())

    return _step(model, optimizer, x, y, lr, clip, loss=loss)


@mistake(
    "train_step",
    says="A tensor is returned, and with it the whole graph of the forward pass: .item() gives the number.",
)
def returns_tensors(model, optimizer, x, y, lr, clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss = _loss(model, x, y)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss, norm


# ---- estimate_loss


@mistake(
    "estimate_loss", says="A mean of the batches' means: a batch of one target weighs as much as one of a thousand."
)
def mean_of_means(model, batches):
    losses = []
    with _Judging(model):
        for x, y in batches:
            loss = _loss(model, x, y).item()
            losses += [] if math.isnan(loss) else [loss]
    return sum(losses) / len(losses)


@mistake("estimate_loss", says="Targets of -100 count in the divisor: the loss comes out too small.")
def divides_by_all(model, batches):
    total, n = 0.0, 0
    with _Judging(model):
        for x, y in batches:
            total += F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
            n += y.numel()
    return total / n


@mistake("estimate_loss", says="The model is judged in training mode: dropout spoils its answers. model.eval() first.")
def judged_in_training_mode(model, batches):
    with torch.no_grad():
        return _total(model, batches)


@mistake(
    "estimate_loss", says="The model is left in eval mode: from the first evaluation on it trains without dropout."
)
def left_in_eval_mode(model, batches):
    model.eval()
    with torch.no_grad():
        return _total(model, batches)


@mistake(
    "estimate_loss", says="The model is always put into training mode afterwards, even if it was in eval mode before."
)
def always_back_to_training(model, batches):
    model.eval()
    with torch.no_grad():
        loss = _total(model, batches)
    model.train()
    return loss


@mistake(
    "estimate_loss", says="One mode for all modules: a part that was frozen in eval mode comes back in training mode."
)
def one_mode_for_all(model, batches):
    mode = model.training
    model.eval()
    with torch.no_grad():
        loss = _total(model, batches)
    model.train(mode)
    return loss


@mistake("estimate_loss", says="Gradients are prepared that nobody needs: twice the memory. Use torch.no_grad().")
def with_gradients(model, batches):
    with _Judging(model, gradients=True):
        return _total(model, batches)


# ---- bits_per_byte


@mistake("bits_per_byte", says="bits per token, not per byte: multiply by tokens / size.")
def bits_per_token(loss, tokens, size):
    return loss / math.log(2)


@mistake("bits_per_byte", says="Still in nats: divide by ln 2.")
def nats_per_byte(loss, tokens, size):
    return loss * tokens / size


@mistake("bits_per_byte", says="size / tokens: a tokenizer with longer tokens would look worse.")
def upside_down(loss, tokens, size):
    return loss / math.log(2) * size / tokens


# ---- next_token


@mistake("next_token", says="Multiplied by the temperature: high temperatures must make the distribution flatter.")
def multiplied_by_temperature(logits, temperature, top_k, generator):
    return _draw(_keep(logits, top_k) * temperature, temperature, generator)


@mistake(
    "next_token",
    says="A softmax of a softmax: multinomial wants probabilities once, and the second softmax flattens them.",
)
def softmax_twice(logits, temperature, top_k, generator):
    return _draw((_keep(logits, top_k) / (temperature or 1)).softmax(-1), temperature, generator)


@mistake("next_token", says="One too few is kept: the threshold itself belongs to the top_k.")
def one_too_few(logits, temperature, top_k, generator):
    if top_k is not None and 1 < top_k < len(logits):
        top_k -= 1
    return _draw(_keep(logits, top_k) / (temperature or 1), temperature, generator)


@mistake("next_token", says="The place among the top_k is returned, not the token that stands there.")
def place_for_token(logits, temperature, top_k, generator):
    values = logits.sort(descending=True).values[: top_k or len(logits)]
    return _draw(values / (temperature or 1), temperature, generator)


@mistake("next_token", says="What is hidden gets the logit 0, which is a logit like any other; it must be -inf.")
def hidden_with_zero(logits, temperature, top_k, generator):
    kept = _keep(logits, top_k)
    return _draw(torch.where(kept == -math.inf, 0.0, kept) / (temperature or 1), temperature, generator)


@mistake("next_token", says="A temperature of 0 divides by zero: it means the largest logit.")
def divides_by_zero(logits, temperature, top_k, generator):
    p = (_keep(logits, top_k) / temperature).softmax(-1)
    return int(torch.multinomial(p, 1, generator=generator))


@mistake(
    "next_token", says="Global random numbers are drawn: your generator has no part in it, and no text can be repeated."
)
def generator_ignored(logits, temperature, top_k, generator):
    return _draw(_keep(logits, top_k) / (temperature or 1), temperature, None)


@mistake("next_token", says="The logits are changed in place: whoever gave them to you looks at others afterwards.")
def changes_the_logits(logits, temperature, top_k, generator):
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None and top_k < len(logits):
        logits[logits < logits.topk(top_k).values[-1]] = -math.inf
    return _draw(logits / temperature, temperature, generator)


@mistake("next_token", says="top_k beyond the vocabulary makes topk fail: there may be fewer tokens than you ask for.")
def more_than_there_are(logits, temperature, top_k, generator):
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -math.inf)
    return _draw(logits / temperature, temperature, generator)


@mistake("next_token", says="exp of a large logit is infinite: take the softmax, which subtracts the largest first.")
def exponentials_without_maximum(logits, temperature, top_k, generator):
    if temperature == 0:
        return int(logits.argmax())
    e = (_keep(logits, top_k) / temperature).exp()
    return int(torch.multinomial(e / e.sum(), 1, generator=generator))


# ---- generate


@mistake("generate", says="The prompt comes back, too; only the new tokens are asked for.")
def prompt_and_all(model, prompt, max_new_tokens, context, eot, choose):
    return list(prompt) + _write(model, prompt, max_new_tokens, context, eot, choose)


@mistake("generate", says="The context is never cut: the model gets more tokens than it was trained on.")
def never_cropped(model, prompt, max_new_tokens, context, eot, choose):
    return _write(model, prompt, max_new_tokens, 10**6, eot, choose)


@mistake(
    "generate",
    says="The first `context` tokens are kept: the model never sees what it has written. The last are needed.",
)
def keeps_the_oldest(model, prompt, max_new_tokens, context, eot, choose):
    return _write(model, prompt, max_new_tokens, context, eot, choose, window=lambda ids: ids[:context])


@mistake("generate", says="Only the prompt is cut to the context; while the text grows, so does the window.")
def crops_the_prompt_only(model, prompt, max_new_tokens, context, eot, choose):
    return _write(model, list(prompt)[-context:], max_new_tokens, 10**6, eot, choose)


@mistake("generate", says="It does not stop at the end of the text.")
def never_stops(model, prompt, max_new_tokens, context, eot, choose):
    return _write(model, prompt, max_new_tokens, context, None, choose)


@mistake(
    "generate", says="The end of the text is thrown away: whoever reads the tokens cannot tell an end from a limit."
)
def drops_the_end(model, prompt, max_new_tokens, context, eot, choose):
    new = _write(model, prompt, max_new_tokens, context, eot, choose)
    return new[:-1] if new and new[-1] == eot else new


@mistake(
    "generate", says="It stops if eot stands anywhere, in the prompt, too: texts begin behind the end of another one."
)
def stops_at_an_old_end(model, prompt, max_new_tokens, context, eot, choose):
    return [] if eot in prompt else _write(model, prompt, max_new_tokens, context, eot, choose)


@mistake("generate", says="The prompt counts towards max_new_tokens.")
def limit_with_the_prompt(model, prompt, max_new_tokens, context, eot, choose):
    return _write(model, prompt, max(0, max_new_tokens - len(prompt)), context, eot, choose)


@mistake("generate", says="choose gets probabilities: it expects logits, and would take a softmax of a softmax.")
def chooses_from_probabilities(model, prompt, max_new_tokens, context, eot, choose):
    return _write(model, prompt, max_new_tokens, context, eot, lambda logits: choose(logits.softmax(-1)))


@mistake("generate", says="New tokens are appended to the caller's prompt.")
def grows_the_prompt(model, prompt, max_new_tokens, context, eot, choose):
    new = _write(model, prompt, max_new_tokens, context, eot, choose)
    if isinstance(prompt, list):
        prompt.extend(new)
    return new


@mistake("generate", says="Gradients are prepared for every token that is written. Use torch.no_grad().")
def keeps_graphs(model, prompt, max_new_tokens, context, eot, choose):
    with torch.enable_grad():
        return _write(model, prompt, max_new_tokens, context, eot, choose, gradients=True)


# ---- the same mistakes, written differently


@alike("eot_once_at_the_end")
def joins_and_ends(documents, eot, vocab_size):
    parts = [np.asarray(d, dtype=np.int64) for d in documents]
    row = np.concatenate([*parts, [eot]]) if parts else np.zeros(0, dtype=np.int64)
    if ((row < 0) | (row >= vocab_size)).any():
        raise ValueError("an id outside")
    return row.astype("uint16" if vocab_size <= 65_536 else "uint32")


@alike("last_start_left_out")
def one_less_than_the_last(tokens, rows, length, seed, step):
    if len(tokens) < length + 1:
        raise ValueError("too short")
    g = torch.Generator().manual_seed(1_000_003 * seed + step)
    starts = torch.randint(0, len(tokens) - length - 1, (rows,), generator=g).tolist()
    row = torch.from_numpy(tokens.astype("int64"))
    return torch.stack([row[s : s + length] for s in starts]), torch.stack(
        [row[s + 1 : s + length + 1] for s in starts]
    )


@alike("seed_plus_step")
def a_generator_of_the_sum(tokens, rows, length, seed, step):
    if len(tokens) < length + 1:
        raise ValueError("too short")
    g = torch.Generator().manual_seed(seed + step)
    at = torch.randint(len(tokens) - length, (rows, 1), generator=g) + torch.arange(length + 1)
    windows = torch.from_numpy(tokens.astype("int64"))[at]
    return windows[:, :-1], windows[:, 1:]


@alike("vacuous_fit")
def all_of_nothing(x, y):
    T = x.shape[1]
    for s in (1, 0, 2, -1, 3, -2, -3):
        pairs = [(x[:, t + s], y[:, t]) for t in range(T) if 0 <= t + s < T]
        if all(bool(((b == -100) | (a == b)).all()) for a, b in pairs):
            return s
    return None


@alike("first_step_wasted")
def nano_gpts_warmup(step, peak, warmup, total, final):
    if warmup and step <= warmup - 1:
        return peak * (step / warmup)
    angle = math.pi * min(1.0, (step + 1 - warmup) / max(1, total - warmup))
    return final if step >= total else final + 0.5 * (1.0 + math.cos(angle)) * (peak - final)


@alike("cosine_a_step_late")
def ratio_from_the_first_step_after(step, peak, warmup, total, final):
    if step < warmup and step < total:
        return (step + 1) / warmup * peak
    ratio = 1.0 if step >= total else (step - warmup) / (total - warmup)
    return peak - (peak - final) * math.sin(math.pi * ratio / 2) ** 2


@alike("never_zeroed")
def adds_to_what_is_there(model, optimizer, x, y, lr, clip):
    for i, _ in enumerate(optimizer.param_groups):
        optimizer.param_groups[i]["lr"] = lr
    logits = model(x)
    loss = nn.CrossEntropyLoss()(logits.view(-1, logits.size(-1)), y.reshape(-1))
    loss.backward()
    norm = nn.utils.clip_grad_norm_(list(model.parameters()), max_norm=clip)
    optimizer.step()
    return float(loss), float(norm)


@alike("never_clipped")
def clipped_too_late(model, optimizer, x, y, lr, clip):
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss = _loss(model, x, y)
    loss.backward()
    optimizer.step()
    return loss.item(), nn.utils.clip_grad_norm_(model.parameters(), clip).item()


@alike("mean_of_means")
def averages_batches(model, batches):
    with _Judging(model):
        found = torch.tensor([float(F.cross_entropy(model(x).mT, y)) for x, y in batches], dtype=torch.float64)
    return found.nanmean().item()


@alike("crops_the_prompt_only")
def grows_from_the_cropped_prompt(model, prompt, max_new_tokens, context, eot, choose):
    ids = torch.tensor([list(prompt)[-context:]])
    n = ids.shape[1]
    with torch.no_grad():
        while ids.shape[1] - n < max_new_tokens:
            ids = torch.cat([ids, torch.tensor([[choose(model(ids)[0, -1])]])], dim=1)
            if ids[0, -1] == eot:
                break
    return ids[0, n:].tolist()


# ---- the parts they share


def _digest(text):
    return hashlib.sha256(text.encode("utf-8")).digest()


def _ids(documents, eot):
    return [i for d in documents for i in (*d, eot)]


def _row(ids, vocab_size, dtype=None):
    """The checks of a right `pack`, and whatever type the mistake asks for."""
    if ids and not 0 <= min(ids) <= max(ids) < vocab_size:
        raise ValueError("an id outside the vocabulary")
    return np.array(ids, dtype=np.int64).astype(dtype or ("uint16" if vocab_size <= 65_536 else "uint32"))


def _starts(tokens, rows, length, seed, step, less=0):
    if len(tokens) <= length:
        raise ValueError("too short")
    return np.random.default_rng([seed, step]).integers(len(tokens) - length - less, size=rows)


def _cut(tokens, starts, length, ahead=1):
    row = torch.from_numpy(np.concatenate([tokens, tokens[-1:]]).astype(np.int64))
    at = torch.as_tensor(np.asarray(starts))[:, None] + torch.arange(length)
    return row[at], row[(at + ahead).clamp(max=len(row) - 1)]


def _fits(x, y, s, ignored=None, empty=False, share=1.0):
    T = x.shape[1]
    a, b = x[:, max(0, s) : max(0, T + min(0, s))], y[:, max(0, -s) : max(0, T - max(0, s))]
    ignored = y if ignored is None else ignored
    side = ignored is not y
    counts = (ignored[:, max(0, s) : max(0, T + min(0, s))] if side else b) != -100
    if not counts.any():
        return empty
    return float((a == b)[counts].float().mean()) >= share


def _shift(x, y):
    return next((s for s in (1, 0, 2, -1, 3, -2, -3) if _fits(x, y, s)), None)


def _cosine(gone, peak, final):
    return final + (peak - final) * (1 + math.cos(math.pi * gone)) / 2


def _groups(model, weight_decay, decays):
    named = list(model.named_parameters())
    return [
        {"params": [p for name, p in named if decays(name, p)], "weight_decay": weight_decay},
        {"params": [p for name, p in named if not decays(name, p)], "weight_decay": 0.0},
    ]


def _loss(model, x, y):
    return F.cross_entropy(model(x).flatten(0, 1).float(), y.flatten(), ignore_index=-100)


def _step(model, optimizer, x, y, lr, clip, zero=True, before=None, clipper=None, loss=None):
    """A right step but for what a mistake changes; lr None sets no rate."""
    for group in optimizer.param_groups if lr is not None else ():
        group["lr"] = lr
    if before:
        before()
    if zero:
        optimizer.zero_grad()
    value = loss() if loss else _loss(model, x, y)
    value.backward()
    parameters = list(model.parameters())
    norm = clipper(parameters) if clipper else nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    return value.item(), float(norm)


class _Judging:
    """Eval mode and no gradients inside the block; every module's mode put back."""

    def __init__(self, model, gradients=False):
        self.model, self.gradients = model, torch.set_grad_enabled(gradients)

    def __enter__(self):
        self.modes = [(m, m.training) for m in self.model.modules()]
        self.model.eval()

    def __exit__(self, *_):
        torch.set_grad_enabled(True)
        for m, mode in self.modes:
            m.training = mode


def _total(model, batches):
    total, n = 0.0, 0
    for x, y in batches:
        total += F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
        n += int((y != -100).sum())
    return total / n


def _keep(logits, top_k):
    if top_k is None or top_k >= len(logits):
        return logits
    return logits.masked_fill(logits < logits.topk(top_k).values[-1], -math.inf)


def _draw(z, temperature, generator):
    if temperature == 0:
        return int(z.argmax())
    return int(torch.multinomial(z.softmax(-1), 1, generator=generator))


def _write(model, prompt, n, context, eot, choose, window=None, at=-1, gradients=False):
    ids = list(prompt)
    with torch.set_grad_enabled(gradients):
        for _ in range(n):
            seen = window(ids) if window else ids[-context:]
            ids.append(choose(model(torch.tensor([seen]))[0, at]))
            if ids[-1] == eot:
                break
    return ids[len(prompt) :]
