"""What people really get wrong in lab 4.4.  Each replaces one function; its task's tests catch it."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from labkit.spec import alike, mistake
from llmcore.model.positions import rotate

# ---- rms_norm


def wrong_norm(says):
    return mistake("rms_norm", of="RMSNorm.forward", says=says)


@wrong_norm(says="eps stands outside the root: small vectors come out too large or too small. It is √(mean + eps).")
def eps_outside_the_root(self, x):
    x32 = x.float()
    return (x32 / (x32.square().mean(-1, keepdim=True).sqrt() + self.eps)).type_as(x) * self.weight


@wrong_norm(says="eps is missing, or not the module's own: a vector of zeros becomes NaN.")
def no_eps(self, x):
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True))).type_as(x) * self.weight


@wrong_norm(says="eps is a constant of your own; the module was given one: self.eps.")
def eps_of_its_own(self, x):
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + 1e-5)).type_as(x) * self.weight


@wrong_norm(says="The mean is taken away first: that is LayerNorm. RMSNorm leaves it in.")
def subtracts_the_mean(self, x):
    return _normed(self, x.float() - x.float().mean(-1, keepdim=True), x)


@wrong_norm(says="The spread around the mean is measured, but the mean is not taken away: neither norm.")
def divides_by_the_deviation(self, x):
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.var(-1, keepdim=True, correction=0) + self.eps)).type_as(x) * self.weight


@wrong_norm(says="The squares are summed, not averaged: the result has length 1, not √D.")
def sums_the_squares(self, x):
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.square().sum(-1, keepdim=True) + self.eps)).type_as(x) * self.weight


@wrong_norm(
    says="One mean for the whole tensor: a token's norm must not depend on other tokens. Only the last dimension.",
)
def norms_everything_together(self, x):
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.square().mean() + self.eps)).type_as(x) * self.weight


@wrong_norm(says="The weight is forgotten: self.weight scales every coordinate at the end.")
def no_weight(self, x):
    x32 = x.float()
    return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).type_as(x)


@wrong_norm(
    says="Squared in x's own dtype: in float16 a square of 300 is infinite and the result 0. Go to float32 first.",
)
def squares_in_half_precision(self, x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


@wrong_norm(says="float32 comes out whatever comes in: bring the result back to x's dtype.")
def stays_in_float32(self, x):
    return _normed(self, x.float(), x.float())


@wrong_norm(says="x is divided in place: your norm changes its caller's tensor, and the residual stream with it.")
def norms_in_place(self, x):
    with torch.no_grad():
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        x.copy_((x.float() * scale).type_as(x))
    return x * self.weight


# ---- swiglu


def wrong_mlp(says):
    return mistake("swiglu", of="SwiGLU.forward", says=says)


@wrong_mlp(says="silu acts on `up` instead of on `gate`: published weights expect it on the gate.")
def silu_on_up(self, x):
    return self.down(self.gate(x) * F.silu(self.up(x)))


@wrong_mlp(says="silu acts on the product; only the gate goes through it.")
def silu_on_the_product(self, x):
    return self.down(F.silu(self.gate(x) * self.up(x)))


@wrong_mlp(says="sigmoid instead of silu: silu(z) is z · sigmoid(z). With sigmoid it is the older GLU.")
def sigmoid_gate(self, x):
    return self.down(self.gate(x).sigmoid() * self.up(x))


@wrong_mlp(says="GELU instead of silu: that is GEGLU. Close enough to look right, and wrong for Llama's weights.")
def gelu_gate(self, x):
    return self.down(F.gelu(self.gate(x)) * self.up(x))


@wrong_mlp(says="The branches are added instead of multiplied: nothing is gated.")
def adds_the_branches(self, x):
    return self.down(F.silu(self.gate(x)) + self.up(x))


@wrong_mlp(says="`up` is not used: that is an MLP of two matrices.")
def no_up(self, x):
    return self.down(F.silu(self.gate(x)))


@wrong_mlp(says="x is added inside the MLP: the residual connection belongs to the block.")
def adds_x(self, x):
    return x + self.down(F.silu(self.gate(x)) * self.up(x))


# ---- attention_weights


def wrong_weights(says):
    return mistake("attention_weights", of="CausalSelfAttention.weights", says=says)


@wrong_weights(says="The scores are not divided by √Dh.")
def no_scale(self, x, positions):
    return _weights(self, x, positions, scale=1.0)


@wrong_weights(says="Divided by √D instead of √Dh: each head's scores are sums of Dh products.")
def scales_by_the_model(self, x, positions):
    return _weights(self, x, positions, scale=1 / math.sqrt(self.config.d_model))


@wrong_weights(says="Softmax over the queries (dim=-2) instead of over the keys (dim=-1).")
def softmax_over_queries(self, x, positions):
    return _weights(self, x, positions, dim=-2).nan_to_num(0.0)


@wrong_weights(says="The mask is upside down: each token sees itself and the future.")
def mask_upside_down(self, x, positions):
    return _weights(self, x, positions, hidden=lambda o: o.tril(-1))


@wrong_weights(says="The mask is off by one: each token sees the next one too. triu(diagonal=1), not 2.")
def mask_off_by_one(self, x, positions):
    return _weights(self, x, positions, hidden=lambda o: o.triu(2))


@wrong_weights(says="No mask: every token sees the future.")
def no_mask(self, x, positions):
    return _weights(self, x, positions, hidden=lambda o: o & False)


@wrong_weights(says="Masked after the softmax: what is left of each row no longer sums to 1.")
def mask_after_softmax(self, x, positions):
    return _weights(self, x, positions, hidden=lambda o: o & False).tril()


@wrong_weights(
    says="The mask compares positions; tokens stand in order, whatever positions say: mask by place in the row."
)
def mask_by_position(self, x, positions):
    q, k = _turned(self, x, positions)
    s = q @ k.mT / math.sqrt(self.config.head_dim)
    return s.masked_fill((positions[:, None, :] > positions[:, :, None])[:, None], -math.inf).softmax(-1)


@wrong_weights(says="repeat instead of repeat_interleave: query head h gets key head h mod K; it must be h // (H / K).")
def repeats_key_heads_in_turn(self, x, positions):
    return _weights(self, x, positions, share=lambda k, n: k.repeat(1, n, 1, 1))


@wrong_weights(
    says="Cut into heads by reshaping to (B, H, T, Dh) at once: that mixes tokens with heads. Cut the last dimension, then transpose."
)
def heads_without_transpose(self, x, positions):
    return _weights(self, x, positions, cut=lambda y, n: y.reshape(len(y), n, y.shape[1], -1))


@wrong_weights(says="Cut as (Dh, H) instead of (H, Dh): a head is Dh neighbours.")
def heads_as_columns(self, x, positions):
    return _weights(self, x, positions, cut=lambda y, n: y.unflatten(-1, (-1, n)).permute(0, 3, 1, 2))


@wrong_weights(says="q and k are not turned: without positions the model sees a bag of words behind a mask.")
def no_rotation(self, x, positions):
    return _weights(self, x, positions, turn=lambda y, *_: y)


@wrong_weights(says="Only q is turned; the angle must be the difference of two positions, so k is turned as well.")
def turns_q_only(self, x, positions):
    q, k = _heads(self, x)
    return _finish(self, rotate(q, *self.cos_sin(positions), self.config.rope_layout), k)


@wrong_weights(says="config.rope_layout is ignored: which coordinates turn together depends on the checkpoint.")
def always_half(self, x, positions):
    return _weights(self, x, positions, turn=lambda y, cos, sin, layout: rotate(y, cos, sin))


@wrong_weights(says="Positions are counted anew from 0: the ones given are ignored.")
def ignores_positions(self, x, positions):
    return _weights(self, x, torch.arange(x.shape[1]).expand(x.shape[:2]))


@wrong_weights(says="The first row's positions serve the whole batch.")
def positions_of_the_first_row(self, x, positions):
    return _weights(self, x, positions[:1].expand(positions.shape))


@wrong_weights(says="Sine and cosine are swapped.")
def sine_for_cosine(self, x, positions):
    return _weights(self, x, positions, turn=lambda y, cos, sin, layout: rotate(y, sin, cos, layout))


@wrong_weights(
    says="The softmax overflows: subtract each row's largest score before exponentiating, or let softmax do it."
)
def softmax_overflows(self, x, positions):
    q, k = _turned(self, x, positions)
    s = q @ k.mT / math.sqrt(self.config.head_dim)
    e = s.exp().tril()
    return e / e.sum(-1, keepdim=True)


# ---- attention


def wrong_attention(says):
    return mistake("attention", of="CausalSelfAttention.forward", says=says)


@wrong_attention(says="Heads are joined without bringing time back first: the numbers of different tokens are mixed.")
def joins_without_transpose(self, x, positions):
    return self.out((self.weights(x, positions) @ _values(self, x)).reshape(x.shape))


@wrong_attention(says="Joined as (Dh, H) instead of (H, Dh): `out` expects one head after the other.")
def joins_coordinate_by_coordinate(self, x, positions):
    return self.out((self.weights(x, positions) @ _values(self, x)).permute(0, 2, 3, 1).flatten(2))


@wrong_attention(says="`out` is missing: the heads lie side by side and never meet.")
def no_output_matrix(self, x, positions):
    return (self.weights(x, positions) @ _values(self, x)).transpose(1, 2).flatten(2)


@wrong_attention(says="The values are turned too; only q and k carry positions.")
def turns_the_values(self, x, positions):
    v = rotate(_values(self, x), *self.cos_sin(positions), self.config.rope_layout)
    return self.out((self.weights(x, positions) @ v).transpose(1, 2).flatten(2))


@wrong_attention(says="repeat instead of repeat_interleave for the values: query head h gets value head h mod K.")
def repeats_value_heads_in_turn(self, x, positions):
    c = self.config
    v = self.v(x).unflatten(-1, (c.n_kv_heads, c.head_dim)).transpose(1, 2)
    v = v.repeat(1, c.n_heads // c.n_kv_heads, 1, 1)
    return self.out((self.weights(x, positions) @ v).transpose(1, 2).flatten(2))


@wrong_attention(says="The keys are mixed instead of the values.")
def mixes_the_keys(self, x, positions):
    c = self.config
    k = self.k(x).unflatten(-1, (c.n_kv_heads, c.head_dim)).transpose(1, 2)
    k = k.repeat_interleave(c.n_heads // c.n_kv_heads, 1)
    return self.out((self.weights(x, positions) @ k).transpose(1, 2).flatten(2))


@wrong_attention(says="The weights are transposed: each value is given to the tokens that it looked at.")
def weights_transposed(self, x, positions):
    return self.out((self.weights(x, positions).mT @ _values(self, x)).transpose(1, 2).flatten(2))


@wrong_attention(says="x is added inside attention: the residual connection belongs to the block.")
def attention_adds_x(self, x, positions):
    return x + self.out((self.weights(x, positions) @ _values(self, x)).transpose(1, 2).flatten(2))


# ---- block


def wrong_block(says):
    return mistake("block", of="Block.forward", says=says)


@wrong_block(says="Attention replaces x instead of being added to it: the first residual connection is missing.")
def no_residual_around_attention(self, x, positions):
    if self.pre_norm:
        x = self.attention(self.attention_norm(x), positions)
        return x + self.mlp(self.mlp_norm(x))
    x = self.attention_norm(self.attention(x, positions))
    return self.mlp_norm(x + self.mlp(x))


@wrong_block(says="The MLP replaces x instead of being added to it: the second residual connection is missing.")
def no_residual_around_mlp(self, x, positions):
    if self.pre_norm:
        x = x + self.attention(self.attention_norm(x), positions)
        return self.mlp(self.mlp_norm(x))
    x = self.attention_norm(x + self.attention(x, positions))
    return self.mlp_norm(self.mlp(x))


@wrong_block(says="The normed x is added, not x itself: the stream is normed at every block, and the highway is gone.")
def adds_the_normed_x(self, x, positions):
    if self.pre_norm:
        x = self.attention_norm(x)
        x = self.mlp_norm(x + self.attention(x, positions))
        return x + self.mlp(x)
    return _block(self, x, positions)


@wrong_block(says="pre_norm is ignored: always pre-norm.")
def always_pre_norm(self, x, positions):
    x = x + self.attention(self.attention_norm(x), positions)
    return x + self.mlp(self.mlp_norm(x))


@wrong_block(says="Post-norm norms what is added instead of the sum: it is norm(x + f(x)), not x + norm(f(x)).")
def norms_before_the_sum(self, x, positions):
    if self.pre_norm:
        return _block(self, x, positions)
    x = x + self.attention_norm(self.attention(x, positions))
    return x + self.mlp_norm(self.mlp(x))


@wrong_block(says="One norm serves both; each of the two has its own weights.")
def one_norm_for_both(self, x, positions):
    if self.pre_norm:
        x = x + self.attention(self.attention_norm(x), positions)
        return x + self.mlp(self.attention_norm(x))
    x = self.attention_norm(x + self.attention(x, positions))
    return self.attention_norm(x + self.mlp(x))


@wrong_block(says="The MLP reads the x from before attention: that is a parallel block (GPT-J), another model.")
def parallel(self, x, positions):
    if self.pre_norm:
        return x + self.attention(self.attention_norm(x), positions) + self.mlp(self.mlp_norm(x))
    return _block(self, x, positions)


@wrong_block(says="The MLP comes before attention.")
def mlp_first(self, x, positions):
    if self.pre_norm:
        x = x + self.mlp(self.mlp_norm(x))
        return x + self.attention(self.attention_norm(x), positions)
    x = self.mlp_norm(x + self.mlp(x))
    return self.attention_norm(x + self.attention(x, positions))


@wrong_block(says="`x += …` changes the caller's tensor: write x = x + …, which makes a new one.")
def adds_in_place(self, x, positions):
    if self.pre_norm:
        x += self.attention(self.attention_norm(x), positions)
        x += self.mlp(self.mlp_norm(x))
        return x
    x += self.attention(x, positions)
    x = self.attention_norm(x)
    return self.mlp_norm(x + self.mlp(x))


# ---- MiniGPT


def wrong_model(says):
    return mistake("MiniGPT", of="MiniGPT.forward", says=says)


@wrong_model(says="The final norm is missing: the head reads a stream that nothing has scaled.")
def no_final_norm(self, ids, positions=None):
    return self.head(_stream(self, ids, positions))


@wrong_model(says="The embedding serves as output layer even where it is not tied: go through self.head.")
def always_tied(self, ids, positions=None):
    return self.final_norm(_stream(self, ids, positions)) @ self.embedding.weight.T


@wrong_model(
    says="Softmax behind the head: the model must return logits, and a loss that takes its own softmax sees two."
)
def returns_probabilities(self, ids, positions=None):
    return self.head(self.final_norm(_stream(self, ids, positions))).softmax(-1)


@wrong_model(says="log_softmax behind the head: harmless to the loss, but these are not the model's logits.")
def returns_log_probabilities(self, ids, positions=None):
    return self.head(self.final_norm(_stream(self, ids, positions))).log_softmax(-1)


@wrong_model(says="The positions given are ignored.")
def model_ignores_positions(self, ids, positions=None):
    return self.head(self.final_norm(_stream(self, ids, None)))


@wrong_model(says="Every token stands at position 0 unless positions are given.")
def all_at_zero(self, ids, positions=None):
    positions = torch.zeros_like(ids) if positions is None else positions
    return self.head(self.final_norm(_stream(self, ids, positions)))


@wrong_model(says="Every block reads the embedding instead of what the block before it wrote.")
def blocks_side_by_side(self, ids, positions=None):
    positions = torch.arange(ids.shape[1]).expand(ids.shape) if positions is None else positions
    x = self.embedding(ids)
    for block in self.blocks:
        y = block(x, positions)
    return self.head(self.final_norm(y))


@wrong_model(says="Only the first block is run, as often as there are blocks: weights that are shared by accident.")
def first_block_again_and_again(self, ids, positions=None):
    positions = torch.arange(ids.shape[1]).expand(ids.shape) if positions is None else positions
    x = self.embedding(ids)
    for _ in self.blocks:
        x = self.blocks[0](x, positions)
    return self.head(self.final_norm(x))


@wrong_model(says="The final norm stands inside the loop: every block gets a normed stream.")
def final_norm_in_the_loop(self, ids, positions=None):
    positions = torch.arange(ids.shape[1]).expand(ids.shape) if positions is None else positions
    x = self.embedding(ids)
    for block in self.blocks:
        x = self.final_norm(block(x, positions))
    return self.head(x)


@wrong_model(says="The embedding is multiplied by √D, as in 2017; Llama's is not.")
def scales_the_embedding(self, ids, positions=None):
    positions = torch.arange(ids.shape[1]).expand(ids.shape) if positions is None else positions
    x = self.embedding(ids) * math.sqrt(self.config.d_model)
    for block in self.blocks:
        x = block(x, positions)
    return self.head(self.final_norm(x))


@wrong_model(says="The logits of the last token only: training needs those of every position.")
def last_token_only(self, ids, positions=None):
    return self.head(self.final_norm(_stream(self, ids, positions)))[:, -1]


@wrong_model(says="The embedding is cut from the graph: its gradient lacks the way through the input.")
def embedding_detached(self, ids, positions=None):
    positions = torch.arange(ids.shape[1]).expand(ids.shape) if positions is None else positions
    x = self.embedding(ids).detach()
    for block in self.blocks:
        x = block(x, positions)
    return self.head(self.final_norm(x))


# ---- initialise


@mistake("initialise", says="One deviation for all: what is added to the residual stream needs 0.02 / √(2 · n_layers).")
def no_smaller_projections(model):
    _initialise(model, lambda n: 0.02)


@mistake("initialise", says="Divided by √n_layers: each block adds twice, so it is √(2 · n_layers).")
def forgets_the_two(model):
    _initialise(model, lambda n: 0.02 / math.sqrt(n))


@mistake(
    "initialise", says="Divided by 2 · n_layers without the root: variances add, so deviations grow with the root."
)
def divides_without_root(model):
    _initialise(model, lambda n: 0.02 / (2 * n))


@mistake("initialise", says="Only attention.out is smaller; mlp.down adds to the stream as well.")
def forgets_down(model):
    _initialise(model, lambda n: 0.02 / math.sqrt(2 * n), small=("attention.out.weight",))


@mistake(
    "initialise",
    says="gate or up are made smaller too; they do not add to the stream, only attention.out and mlp.down do.",
)
def the_whole_mlp_smaller(model):
    small = ("attention.out.weight", "gate.weight", "up.weight", "down.weight")
    _initialise(model, lambda n: 0.02 / math.sqrt(2 * n), small=small)


@mistake("initialise", says="The norm weights are drawn at random like matrices; they are to be 1.")
def random_norms(model):
    _initialise(model, lambda n: 0.02 / math.sqrt(2 * n))
    for p in model.parameters():
        if p.ndim == 1:
            nn.init.normal_(p, std=0.02)


@mistake("initialise", says="The norm weights are left as they were: set them to 1.")
def norms_left_alone(model):
    kept = {n: p.detach().clone() for n, p in model.named_parameters() if p.ndim == 1}
    _initialise(model, lambda n: 0.02 / math.sqrt(2 * n))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name in kept:
                p.copy_(kept[name])


@mistake(
    "initialise",
    says="The embedding is left at what torch gives it: a deviation of 1, and a first loss far above ln V.",
)
def embedding_left_alone(model):
    _initialise(model, lambda n: 0.02 / math.sqrt(2 * n))
    nn.init.normal_(model.embedding.weight)


@mistake("initialise", says="A variance of 0.02 instead of a deviation of 0.02.")
def variance_for_deviation(model):
    _initialise(model, lambda n: math.sqrt(0.02 / (2 * n)), std=math.sqrt(0.02))


@mistake("initialise", says="Uniform between -0.02 and 0.02 instead of normal: its deviation is 0.02 / √3.")
def uniform(model):
    _initialise(model, lambda n: 0.02 / math.sqrt(2 * n))
    for p in model.parameters():
        if p.ndim == 2:
            nn.init.uniform_(p, -0.02, 0.02)


@mistake(
    "initialise", says="The tie is cut: a new Parameter is put in the place of the old one. Fill the tensor in place."
)
def cuts_the_tie(model):
    _initialise(model, lambda n: 0.02 / math.sqrt(2 * n))
    model.head.weight = nn.Parameter(torch.randn_like(model.head.weight) * 0.02)


@mistake("initialise", says="Seeded inside for every tensor: all blocks begin with the same numbers.")
def seeds_every_tensor(model):
    for name, p in model.named_parameters():
        torch.manual_seed(0)
        if p.ndim == 1:
            nn.init.ones_(p)
        else:
            small = name.endswith(("attention.out.weight", "mlp.down.weight"))
            nn.init.normal_(p, std=0.02 / math.sqrt(2 * model.config.n_layers) if small else 0.02)


# ---- n_parameters


@mistake("n_parameters", says="The output layer is counted again although it is tied: one tensor with two names.")
def counts_the_tie_twice(config):
    return _count(config, matrices=2)


@mistake("n_parameters", says="The output layer is never counted; untied, it is another V × D.")
def never_counts_the_head(config):
    return _count(config, matrices=1)


@mistake("n_parameters", says="4·D² for attention: with fewer key-value heads, k and v are D × K·Dh.")
def forgets_grouped_heads(config):
    return _count(config) + config.n_layers * 2 * config.d_model * (config.d_model - _kv(config))


@mistake("n_parameters", says="Two matrices in the MLP: SwiGLU has three.")
def two_matrices(config):
    return _count(config) - config.n_layers * config.d_model * config.d_ff


@mistake("n_parameters", says="12·D² a block is GPT-2's: here the MLP is as wide as d_ff says.")
def twelve_d_squared(config):
    d = config.d_model
    return _count(config) - config.n_layers * _matrices(config) + config.n_layers * 12 * d * d


@mistake("n_parameters", says="The norms are forgotten: two a block, one at the end.")
def forgets_norms(config):
    return _count(config) - (2 * config.n_layers + config.pre_norm) * config.d_model


@mistake("n_parameters", says="One norm a block instead of two.")
def one_norm_a_block(config):
    return _count(config) - config.n_layers * config.d_model


@mistake("n_parameters", says="The final norm is forgotten.")
def forgets_the_final_norm(config):
    return _count(config) - config.pre_norm * config.d_model


@mistake(
    "n_parameters", says="A final norm is counted in a post-norm model, which has none: its last block ends with one."
)
def final_norm_always(config):
    return _count(config) + (not config.pre_norm) * config.d_model


# ---- next_token_loss


@mistake(
    "next_token_loss",
    says="No shift: the logits at t are compared with token t, which the model has just read. Copying wins.",
)
def no_shift(model, ids, ignore=None):
    return _cross_entropy(model(ids), ids, ignore)


@mistake("next_token_loss", says="Shifted the wrong way: the logits at t are compared with token t - 1.")
def shifts_backwards(model, ids, ignore=None):
    return _cross_entropy(model(ids)[:, 1:], ids[:, :-1], ignore)


@mistake("next_token_loss", says="Shifted twice: the logits at t are compared with token t + 2.")
def shifts_twice(model, ids, ignore=None):
    if ids.shape[1] < 3:
        return model(ids)[:, :1].sum() * 0
    return _cross_entropy(model(ids)[:, :-2], ids[:, 2:], ignore)


@mistake("next_token_loss", says="roll wraps around: the last position is compared with the first token. Cut it off.")
def rolls(model, ids, ignore=None):
    return _cross_entropy(model(ids), ids.roll(-1, dims=1), ignore)


@mistake("next_token_loss", says="Flattened before the shift: the end of each row predicts the start of the next.")
def shifts_across_rows(model, ids, ignore=None):
    logits = model(ids)
    return _cross_entropy(logits.flatten(0, 1)[None, :-1], ids.flatten()[None, 1:], ignore)


@mistake("next_token_loss", says="The sum of the losses instead of their mean.")
def sums(model, ids, ignore=None):
    logits, targets = model(ids)[:, :-1], ids[:, 1:]
    return F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100 if ignore is None else ignore
    )


@mistake("next_token_loss", says="`ignore` is ignored.")
def ignores_ignore(model, ids, ignore=None):
    return _cross_entropy(model(ids)[:, :-1], ids[:, 1:])


@mistake("next_token_loss", says="What does not count is left out of the sum, but not of the number it is divided by.")
def divides_by_all(model, ids, ignore=None):
    losses = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * (ids[:, 1:].flatten() != ignore)).sum() / losses.numel()


@mistake(
    "next_token_loss",
    says="Positions that *are* padding are left out; it is the predictions *of* padding that must not count.",
)
def ignores_by_input(model, ids, ignore=None):
    losses = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return losses[ids[:, :-1].flatten() != ignore].mean() if ignore is not None else losses.mean()


@mistake(
    "next_token_loss", says="`if ignore:` is false for the id 0, the most common padding of all: ask `is not None`."
)
def zero_is_never_ignored(model, ids, ignore=None):
    return _cross_entropy(model(ids)[:, :-1], ids[:, 1:], ignore or None)


@mistake("next_token_loss", says="A mean of the rows' means: a short row counts as much as a long one.")
def mean_of_means(model, ids, ignore=None):
    logits = model(ids)
    rows = []
    for a, b in zip(logits, ids):
        rows.append(_cross_entropy(a[None, :-1], b[None, 1:], ignore))
    return torch.stack(rows).mean()


@mistake("next_token_loss", says="Two softmaxes: F.cross_entropy takes logits, not probabilities.")
def softmax_twice(model, ids, ignore=None):
    return _cross_entropy(model(ids)[:, :-1].softmax(-1), ids[:, 1:], ignore)


@mistake(
    "next_token_loss",
    says="log of a softmax: far below the largest logit it is log 0, minus infinity. Use log_softmax or cross_entropy.",
)
def log_of_softmax(model, ids, ignore=None):
    logits, targets = model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
    losses = -logits.softmax(-1).log().gather(-1, targets[:, None])[:, 0]
    return (losses if ignore is None else losses[targets != ignore]).mean()


@mistake("next_token_loss", says="In bits (log base 2) instead of nats.")
def in_bits(model, ids, ignore=None):
    return _cross_entropy(model(ids)[:, :-1], ids[:, 1:], ignore) / math.log(2)


# ---- overfit


@mistake("overfit", says="No zero_grad: every step adds to the gradients of all steps before.")
def never_zeroes(model, ids, steps, lr):
    return _train(model, ids, steps, lr, zero=False)


@mistake("overfit", says="zero_grad between backward and step: the step finds no gradients, and nothing is learned.")
def zeroes_before_the_step(model, ids, steps, lr):
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = _next_token_loss(model, ids)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


@mistake(
    "overfit",
    says="zero_grad comes after the step only: the first step takes along the gradients that the model brought.",
)
def zeroes_at_the_end(model, ids, steps, lr):
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = _next_token_loss(model, ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@mistake("overfit", says="A new optimizer at every step: Adam forgets its averages, and each step is the first one.")
def new_optimizer_every_step(model, ids, steps, lr):
    losses = []
    for _ in range(steps):
        losses += _train(model, ids, 1, lr)
    return losses


@mistake("overfit", says="The losses are those after each step; they are asked for before it.")
def losses_after_the_step(model, ids, steps, lr):
    losses = []
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        _next_token_loss(model, ids).backward()
        optimizer.step()
        losses.append(_next_token_loss(model, ids).item())
    return losses


@mistake("overfit", says="`lr` is ignored: Adam's own default is 0.001.")
def ignores_lr(model, ids, steps, lr):
    return _train(model, ids, steps, 1e-3)


@mistake("overfit", says="SGD instead of Adam.")
def plain_sgd(model, ids, steps, lr):
    return _train(model, ids, steps, lr, torch.optim.SGD)


@mistake("overfit", says="AdamW shrinks the weights by its own default, 0.01; Adam does not.")
def with_weight_decay(model, ids, steps, lr):
    return _train(model, ids, steps, lr, torch.optim.AdamW)


@mistake(
    "overfit", says="Trained on a loss without the shift: it falls faster, and the model learns to copy its input."
)
def trains_without_the_shift(model, ids, steps, lr):
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = _cross_entropy(model(ids), ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@mistake("overfit", says="The losses come back as tensors, each with its whole graph behind it: loss.item().")
def returns_tensors(model, ids, steps, lr):
    return [torch.tensor(x) for x in _train(model, ids, steps, lr)]


@mistake("overfit", says="One step too few.")
def one_step_too_few(model, ids, steps, lr):
    return _train(model, ids, steps - 1, lr)


@mistake("overfit", says="Only the last loss is returned, not all of them.")
def only_the_last_loss(model, ids, steps, lr):
    return _train(model, ids, steps, lr)[-1]


# ---- first_leak


@mistake("first_leak", says="Only the last token is changed: a leak that reaches less far goes unseen.")
def changes_the_last_token_only(model, ids):
    return _leak(model, ids, places=lambda n: range(n - 1, n))


@mistake("first_leak", says="Only the neighbour is looked at: a leak from further away goes unseen.")
def looks_one_step_back_only(model, ids):
    return _leak(model, ids, moved=lambda change, later: [t for t in change if t == later - 1])


@mistake("first_leak", says="The token's own position counts as a leak: a model may see the token that stands there.")
def counts_its_own_position(model, ids):
    return _leak(model, ids, before=lambda later: later + 1)


@mistake("first_leak", says="The first leak found, not the earliest position: a later change may reach further back.")
def stops_at_the_first_found(model, ids):
    logits = model(ids[None])[0]
    for later in range(1, len(ids)):
        found = _moved(model, ids, later, logits)
        if found:
            return found[0]
    return None


@mistake(
    "first_leak", says="The position of the token that was changed is returned, not that of the logits that moved."
)
def returns_the_changed_position(model, ids):
    return _leak(model, ids, moved=lambda change, later: [later] if change else [])


@mistake("first_leak", says="-1 for a model that does not leak; None is asked for.")
def minus_one(model, ids):
    found = _leak(model, ids)
    return -1 if found is None else found


@mistake("first_leak", says="Compared bit by bit: rounding is taken for a leak.")
def bit_by_bit(model, ids):
    return _leak(model, ids, tolerance=0.0)


@mistake("first_leak", says="Only the most likely token is compared: a leak that does not change it goes unseen.")
def compares_the_best_token(model, ids):
    logits = model(ids[None])[0].argmax(-1)
    leaks = []
    for later in range(1, len(ids)):
        other = _other(model, ids, later)
        leaks += (model(other[None])[0].argmax(-1) != logits)[:later].nonzero()[:, 0].tolist()
    return min(leaks, default=None)


@mistake(
    "first_leak", says="Only rises count: a leak may push logits down. Take the absolute value before the maximum."
)
def only_rises_count(model, ids):
    logits = model(ids[None])[0]
    leaks = []
    for later in range(1, len(ids)):
        change = (model(_other(model, ids, later)[None])[0] - logits)[:later].amax(-1)
        leaks += (change > 1e-5 * logits.abs().max()).nonzero()[:, 0].tolist()
    return min(leaks, default=None)


@mistake(
    "first_leak", says="The token is changed to 0: where it is 0 already, nothing changes and the leak goes unseen."
)
def changes_to_zero(model, ids):
    return _leak(model, ids, other=lambda token, v: 0)


@mistake(
    "first_leak",
    says="The token is changed to id + 1, which does not exist for the last id: take it modulo the vocabulary.",
)
def leaves_the_vocabulary(model, ids):
    return _leak(model, ids, other=lambda token, v: token + 1)


@mistake("first_leak", says="The answer is True or False; the position is asked for.")
def returns_a_bool(model, ids):
    return _leak(model, ids) is not None


@mistake("first_leak", says="The last position that leaks instead of the earliest.")
def returns_the_latest(model, ids):
    logits = model(ids[None])[0]
    leaks = [t for later in range(1, len(ids)) for t in _moved(model, ids, later, logits)]
    return max(leaks, default=None)


# ---- is_aligned


@mistake(
    "is_aligned",
    says="Your model of right answers wraps: behind the last token it knows the first. So a loss that wraps passes.",
)
def its_own_model_wraps(loss, vocab_size):
    return _aligned(loss, vocab_size, knows=lambda sure: sure.roll(-1, dims=1))


@mistake("is_aligned", says="Only asks that the right model gives a low loss: a loss that is always low passes.")
def asks_only_for_low(loss, vocab_size):
    return _aligned(loss, vocab_size, other=None)


@mistake("is_aligned", says="Only asks that the copying model gives a high loss: every other wrong shift passes.")
def asks_only_for_high(loss, vocab_size):
    return _aligned(loss, vocab_size, knows=None)


@mistake(
    "is_aligned",
    says="The other model knows nothing: a loss that measures only how sure a model is passes. Let it be sure, and wrong.",
)
def other_model_knows_nothing(loss, vocab_size):
    return _aligned(loss, vocab_size, other=lambda sure: 0 * sure)


@mistake("is_aligned", says="One row only: a loss that shifts across rows passes.")
def one_row(loss, vocab_size):
    return _aligned(loss, vocab_size, rows=1)


@mistake(
    "is_aligned",
    says="Only compares two losses, lower for the right model than for the other: a loss that is wrong in a few places passes.",
)
def only_compares(loss, vocab_size):
    return _aligned(loss, vocab_size, limit=1.0)


@mistake("is_aligned", says="All tokens are the same: every shift looks right, and copying too.")
def constant_ids(loss, vocab_size):
    return _aligned(loss, vocab_size, ids=lambda rows: torch.full((rows, 64), 1))


@mistake("is_aligned", says="The answers are the other way round: True for a loss that is *not* aligned.")
def turned_round(loss, vocab_size):
    return not _aligned(loss, vocab_size)


@mistake(
    "is_aligned", says="Your model always answers for all positions, even if the loss gives it all ids but the last."
)
def answers_for_all(loss, vocab_size):
    return _aligned(loss, vocab_size, cut=False)


@mistake(
    "is_aligned",
    says="Your model looks ahead in the ids it is given: where the loss cuts off the last one, it lacks the last answer.",
)
def reads_ahead_in_what_it_is_given(loss, vocab_size):
    ids = torch.randint(vocab_size, (4, 64), generator=torch.Generator().manual_seed(0))

    def ahead(seen):
        sure = 50 * F.one_hot(seen, vocab_size).float()
        return torch.cat([sure[:, 1:], torch.zeros_like(sure[:, :1])], 1)

    return float(loss(ahead, ids)) < 1e-3 < float(loss(lambda seen: 50 * F.one_hot(seen, vocab_size).float(), ids))


@mistake("is_aligned", says="Your model copies: it is content with a loss without the shift, and with no other.")
def takes_copying_for_right(loss, vocab_size):
    return _aligned(loss, vocab_size, knows=lambda sure: sure, other=lambda sure: 0 * sure)


# ---- the same mistakes in other words: each must be caught, and named as the one it is


@alike("eps_outside_the_root")
def adds_eps_to_the_norm(self, x):
    rms = x.float().norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
    return self.weight * (x.float() / (rms + self.eps)).to(x.dtype)


@alike("subtracts_the_mean")
def layer_norm_of_torch(self, x):
    return F.layer_norm(x.float(), x.shape[-1:], self.weight.float(), None, self.eps).to(x.dtype)


@alike("silu_on_up")
def sigmoid_written_out_on_up(self, x):
    up = self.up(x)
    return self.down(up * torch.sigmoid(up) * self.gate(x))


@alike("no_scale")
def einsum_without_scale(self, x, positions):
    c = self.config
    B, T, _ = x.shape
    q = self.q(x).view(B, T, c.n_heads, c.head_dim).permute(0, 2, 1, 3)
    k = self.k(x).view(B, T, c.n_kv_heads, c.head_dim).permute(0, 2, 1, 3)
    cos, sin = self.cos_sin(positions)
    q, k = rotate(q, cos, sin, layout=c.rope_layout), rotate(k, cos, sin, layout=c.rope_layout)
    q = q.view(B, c.n_kv_heads, -1, T, c.head_dim)
    s = torch.einsum("bkgtd,bksd->bkgts", q, k).reshape(B, c.n_heads, T, T)
    return torch.softmax(s + torch.full((T, T), -torch.inf).triu(1), dim=-1)


@alike("repeats_key_heads_in_turn")
def picks_key_heads_modulo(self, x, positions):
    return _weights(self, x, positions, share=lambda k, n: k[:, [h % k.shape[1] for h in range(n * k.shape[1])]])


@alike("mask_off_by_one")
def one_more_key(self, x, positions):
    return _weights(self, x, positions, hidden=lambda o: ~o.tril(1))


@alike("heads_without_transpose")
def views_at_once(self, x, positions):
    c = self.config
    B, T, _ = x.shape
    q, k = self.q(x).view(B, c.n_heads, T, c.head_dim), self.k(x).view(B, c.n_kv_heads, T, c.head_dim)
    return _finish(self, *(rotate(y, *self.cos_sin(positions), c.rope_layout) for y in (q, k)))


@alike("joins_without_transpose")
def views_the_mixture(self, x, positions):
    y = torch.matmul(self.weights(x, positions), _values(self, x)).contiguous()
    return F.linear(y.view(x.shape[0], x.shape[1], -1), self.out.weight)


@alike("no_residual_around_attention")
def overwrites_x(self, x, positions):
    h = self.attention(self.attention_norm(x) if self.pre_norm else x, positions)
    h = h if self.pre_norm else self.attention_norm(h)
    g = h + self.mlp(self.mlp_norm(h) if self.pre_norm else h)
    return g if self.pre_norm else self.mlp_norm(g)


@alike("no_final_norm")
def straight_to_the_head(self, ids, positions=None):
    if positions is None:
        positions = torch.cumsum(torch.ones_like(ids), 1) - 1
    h = self.embedding(ids)
    for i in range(self.config.n_layers):
        h = self.blocks[i](h, positions)
    return F.linear(h, self.head.weight)


@alike("no_smaller_projections")
def every_linear_alike(model):
    for m in model.modules():
        if isinstance(m, (nn.Linear, nn.Embedding)):
            m.weight.data.normal_(mean=0.0, std=0.02)
        elif hasattr(m, "eps"):
            m.weight.data.fill_(1.0)


@alike("counts_the_tie_twice")
def counts_names_not_tensors(config):
    d, dh, v = config.d_model, config.head_dim, config.vocab_size
    layer = sum([d * d, d * config.n_kv_heads * dh, d * config.n_kv_heads * dh, d * d, 3 * d * config.d_ff, d, d])
    return v * d + layer * config.n_layers + (d if config.pre_norm else 0) + d * v


@alike("no_shift")
def gathers_each_token_itself(model, ids, ignore=None):
    lost = -model(ids).log_softmax(-1).gather(2, ids.unsqueeze(2)).squeeze(2)
    keep = torch.ones_like(lost) if ignore is None else (ids != ignore).float()
    return (lost * keep).sum() / keep.sum()


@alike("divides_by_all")
def fills_with_zero_and_averages(model, ids, ignore=None):
    lost = -model(ids)[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return lost.masked_fill(ids[:, 1:] == ignore, 0.0).mean() if ignore is not None else lost.mean()


@alike("never_zeroes")
def hands_gradients_on(model, ids, steps, lr):
    losses, adam = [], torch.optim.Adam(list(model.parameters()), lr)
    for _ in range(steps):
        loss = F.cross_entropy(model(ids)[:, :-1].transpose(1, 2), ids[:, 1:])
        loss.backward()
        adam.step()
        losses.append(float(loss))
    return losses


@alike("changes_the_last_token_only")
def swaps_the_end(model, ids):
    v = model(ids[None]).shape[-1]
    both = torch.stack([ids, ids])
    both[1, -1] = (both[1, -1] + v // 2) % v
    a, b = model(both)
    moved = [t for t in range(len(ids) - 1) if (a[t] - b[t]).abs().max() > 1e-5 * a.abs().max()]
    return moved[0] if moved else None


@alike("stops_at_the_first_found")
def walks_forward(model, ids):
    v = model(ids[None]).shape[-1]
    rows = ids.repeat(len(ids), 1)
    rows[range(len(ids)), range(len(ids))] = (ids + 1) % v
    change = (model(rows) - model(ids[None])).abs().amax(-1) > 1e-4
    for later in range(1, len(ids)):
        for t in range(later):
            if change[later, t]:
                return t
    return None


@alike("its_own_model_wraps")
def rolls_its_answers(loss, vocab_size):
    ids = torch.randint(vocab_size, (3, 50), generator=torch.Generator().manual_seed(1))
    right = F.one_hot(torch.roll(ids, -1, 1), vocab_size) * 100.0
    wrong = F.one_hot(ids, vocab_size) * 100.0
    low = loss(lambda seen: right[:, : seen.size(1)], ids).item()
    high = loss(lambda seen: wrong[:, : seen.size(1)], ids).item()
    return low < 0.01 and high > 1


@alike("asks_only_for_low")
def is_content_with_zero(loss, vocab_size):
    ids = torch.randint(vocab_size, (6, 40), generator=torch.Generator().manual_seed(2))
    answers = torch.zeros(6, 40, vocab_size)
    answers[:, :-1] = 60.0 * F.one_hot(ids[:, 1:], vocab_size)
    return abs(float(loss(lambda seen: answers[:, : seen.shape[1]], ids))) < 1e-4


# ---- the parts they share


def _normed(self, x32, x):
    return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).type_as(x) * self.weight


def _cut(y, n):
    return y.unflatten(-1, (n, -1)).transpose(1, 2)


def _heads(self, x, cut=_cut, share=lambda k, n: k.repeat_interleave(n, 1)):
    c = self.config
    q, k = cut(self.q(x), c.n_heads), cut(self.k(x), c.n_kv_heads)
    return q, share(k, c.n_heads // c.n_kv_heads)


def _turned(self, x, positions, turn=rotate, **how):
    return (turn(y, *self.cos_sin(positions), self.config.rope_layout) for y in _heads(self, x, **how))


def _finish(self, q, k, scale=None, hidden=lambda o: o.triu(1), dim=-1):
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    s = q @ k.mT * (1 / math.sqrt(self.config.head_dim) if scale is None else scale)
    ones = torch.ones(s.shape[-2:], dtype=torch.bool)
    return s.masked_fill(hidden(ones), -math.inf).softmax(dim)


def _weights(self, x, positions, turn=rotate, cut=_cut, share=lambda k, n: k.repeat_interleave(n, 1), **how):
    return _finish(self, *_turned(self, x, positions, turn, cut=cut, share=share), **how)


def _values(self, x):
    c = self.config
    return _cut(self.v(x), c.n_kv_heads).repeat_interleave(c.n_heads // c.n_kv_heads, 1)


def _block(self, x, positions):
    if self.pre_norm:
        x = x + self.attention(self.attention_norm(x), positions)
        return x + self.mlp(self.mlp_norm(x))
    x = self.attention_norm(x + self.attention(x, positions))
    return self.mlp_norm(x + self.mlp(x))


def _stream(self, ids, positions):
    positions = torch.arange(ids.shape[1]).expand(ids.shape) if positions is None else positions
    x = self.embedding(ids)
    for block in self.blocks:
        x = block(x, positions)
    return x


def _initialise(model, small_std, std=0.02, small=("attention.out.weight", "mlp.down.weight")):
    for name, p in model.named_parameters():
        if p.ndim == 1:
            nn.init.ones_(p)
        else:
            nn.init.normal_(p, std=small_std(model.config.n_layers) if name.endswith(small) else std)


def _kv(config):
    return config.n_kv_heads * config.head_dim


def _matrices(config):
    return 2 * config.d_model * (config.d_model + _kv(config)) + 3 * config.d_model * config.d_ff


def _count(config, matrices=None):
    d = config.d_model
    matrices = matrices or (1 if config.tie_embeddings else 2)
    return matrices * config.vocab_size * d + config.n_layers * (_matrices(config) + 2 * d) + d * config.pre_norm


def _cross_entropy(logits, targets, ignore=None):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100 if ignore is None else ignore)


def _next_token_loss(model, ids):
    return _cross_entropy(model(ids)[:, :-1], ids[:, 1:])


def _train(model, ids, steps, lr, kind=torch.optim.Adam, zero=True):
    optimizer, losses = kind(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss = _next_token_loss(model, ids)
        if zero:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _other(model, ids, later, other=lambda token, v: (token + 1) % v):
    changed = ids.clone()
    changed[later] = other(int(ids[later]), model(ids[None]).shape[-1])
    return changed


def _moved(model, ids, later, logits, tolerance=1e-5, before=lambda later: later, **how):
    change = (model(_other(model, ids, later, **how)[None])[0] - logits)[: before(later)].abs().amax(-1)
    return (change > tolerance * logits.abs().max()).nonzero()[:, 0].tolist()


def _leak(model, ids, places=lambda n: range(1, n), moved=lambda change, later: change, **how):
    logits = model(ids[None])[0]
    leaks = []
    for later in places(len(ids)):
        leaks += moved(_moved(model, ids, later, logits, **how), later)
    return min(leaks, default=None)


def _next(sure):
    return torch.cat([sure[:, 1:], torch.zeros_like(sure[:, :1])], 1)


def _aligned(loss, vocab_size, knows=_next, other=lambda sure: sure, rows=4, ids=None, limit=1e-3, cut=True):
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab_size, (rows, 64), generator=random) if ids is None else ids(rows)
    sure = 50 * F.one_hot(ids, vocab_size).float()

    def loss_of(answers):
        return float(loss(lambda seen: answers[:, : seen.shape[1]] if cut else answers, ids))

    return (knows is None or loss_of(knows(sure)) < limit) and (other is None or loss_of(other(sure)) > limit)
