"""alibi_attention in BLOOM, MPT and Falcon of transformers, for as long as a `with` lasts.

    python examples/transformers_patch.py     # needs the extra: pip install -e '.[peers]'

    with alibi_attending(model):
        model.generate(...)

What the classes of transformers 5.23 allow. The attention interface has two registries, one of
attention functions and one of mask functions; a model's `attn_implementation` names an entry of
both. BLOOM, MPT and Falcon are its only models with ALiBi, and none of their attention modules
reads the registry of attention functions: `set_attn_implementation` only warns. If a name is in
that registry alone, BLOOM gets no mask at all and attends to the future without a warning.

All three read the registry of mask functions, so they get our mask function through the interface:
no mask of [queries, keys] is built, a padded batch keeps its mask of [batch, keys], and a mask that
alibi_attention can't apply is refused there. Their attention modules are given the classes below
until the `with` ends. The forward of these classes is the model's own up to the scores, and then
calls the registered attention function.

The bias that the model passes is ignored, because it is the standard one, in Falcon divided by
sqrt(head_dim). BLOOM's counts from key 0 and is rounded to the model's dtype, so in bfloat16 the
patched model is nearer to float32 than its own attention. Falcon rounds it to bfloat16 in every
dtype, which loses nothing with 8 heads up to 256 tokens. MPT's is for a bias_max of 8, whatever its
configuration says. Compare in float32.

Refused with `Unsupported`: packed or 4-D masks, keys after the last query (StaticCache), attention
dropout while training, `output_attentions` of BLOOM and Falcon, and BLOOM's `slow_but_exact`. MPT
does not pass `output_attentions` to its attention modules, so it gets None for each layer.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

try:
    import torch
    from torch import Tensor
    from transformers import (
        AttentionInterface,
        AttentionMaskInterface,
        BloomConfig,
        BloomForCausalLM,
        FalconConfig,
        FalconForCausalLM,
        MptConfig,
        MptForCausalLM,
    )
    from transformers.masking_utils import causal_mask_function
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.models.bloom.modeling_bloom import BloomAttention, dropout_add
    from transformers.models.falcon.modeling_falcon import FalconAttention
    from transformers.models.mpt.modeling_mpt import MptAttention

    from alibi_bench import Unsupported, alibi_attention, alibi_slopes, variant_for
except ImportError as error:
    if __name__ != "__main__":
        raise
    print(f"Error: {error}: pip install -e '.[peers]' installs what this needs", file=sys.stderr)
    raise SystemExit(2) from None

NAME = "alibi_attention"
"""Our name in both registries; it is never removed, because transformers has no way to do so."""

HEADS, HEAD_DIM, PROMPT, PADDING, NEW = 12, 16, 200, 70, 8
BUDGET = 1e-4
"""The largest difference between logits in float32, as a share of the largest logit."""


def attend(
    _module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    output_attentions: bool = False,
    slopes: Tensor | None = None,
    **_rest: Any,
) -> tuple[Tensor, None]:
    """Return [batch, length, heads, head_dim] and no weights, as the interface requires.

    Raises Unsupported for a mask that is not `real_tokens`'s, dropout and output_attentions.
    """
    if dropout:
        raise Unsupported(f"attention_dropout {dropout} while training: set it to 0")
    if output_attentions:
        raise Unsupported("output_attentions: no variant keeps weights; ask the unpatched model")
    key_padding = padding_of(attention_mask)
    out = alibi_attention(query, key, value, slopes=slopes, scale=scaling, key_padding=key_padding)
    return out.transpose(1, 2), None


def padding_of(mask: Tensor | None) -> Tensor | None:
    """Return which keys are padding, from what `real_tokens` returned; None where none is."""
    if mask is None or not (mask.is_meta or (mask.dim() == 2 and mask.dtype == torch.bool)):
        raise Unsupported("a mask that isn't `real_tokens`'s: give the model a 2-D mask or none")
    return None if mask.is_meta else ~mask


def real_tokens(
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: Tensor | None = None,
    **_rest: Any,
) -> Tensor:
    """Return the padded batch's own mask, bool [batch, keys], in place of a causal one.

    Where no token is padding it is an empty token on the meta device. `attend` recognises both, and
    a model's own attention fails on them; without any mask that attention would see the future.
    Raises Unsupported where more than a causal mask is needed.
    """
    if mask_function is not causal_mask_function:
        raise Unsupported("its mask is not just causal: packed, sliding or bidirectional")
    if int(q_offset) + q_length != kv_offset + kv_length:
        raise Unsupported(
            "its keys don't end with its queries: take a DynamicCache, no StaticCache"
        )
    if attention_mask is None or attention_mask.all():
        return torch.empty(0, device="meta")
    return attention_mask.bool()


def attend_with_cache(
    module: Any, q: Tensor, k: Tensor, v: Tensor, past: Any, mask: Tensor | None, **how: Any
) -> tuple[Tensor, None]:
    """Call the registered function with all keys so far, those of the cache `past` too.

    Returns [batch, length, heads * head_dim], and no weights.
    """
    if past is not None:
        k, v = past.update(k, v, module.layer_idx)
    out, weights = ALL_ATTENTION_FUNCTIONS[NAME](module, q, k, v, mask, **how)
    return out.flatten(2), weights


class AlibiBloomAttention(BloomAttention):  # type: ignore[misc]
    """BLOOM's attention, with the registered function in place of scores, softmax and dropout."""

    def forward(
        self,
        hidden_states: Tensor,
        residual: Tensor,
        alibi: Tensor,
        attention_mask: Tensor,
        layer_past: Any = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        **rest: Any,
    ) -> tuple[Tensor, None]:
        """Return the new hidden states, and no weights."""
        if self.slow_but_exact and self.pretraining_tp > 1:
            raise Unsupported("slow_but_exact: set it to False")
        q, k, v = self._reshape(self.query_key_value(hidden_states))
        attended, weights = attend_with_cache(
            *(self, q, k, v, layer_past, attention_mask),
            scaling=self.inv_norm_factor,
            dropout=self.attention_dropout.p if self.training else 0.0,
            output_attentions=output_attentions,
        )
        out = self.dense(attended)
        return dropout_add(out, residual, self.hidden_dropout, self.training), weights


class AlibiMptAttention(MptAttention):  # type: ignore[misc]
    """MPT's attention, with the registered function in place of scores, softmax and dropout."""

    def forward(
        self,
        hidden_states: Tensor,
        position_bias: Tensor,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        **rest: Any,
    ) -> tuple[Tensor, None]:
        """Return the new hidden states, and no weights."""
        qkv = self.Wqkv(hidden_states)
        if self.clip_qkv:
            qkv = qkv.clamp(-self.clip_qkv, self.clip_qkv)
        by_third = qkv.unflatten(2, (3, self.n_heads, self.head_dim)).transpose(1, 3)
        q, k, v = by_third.unbind(2)  # [batch, heads, length, head_dim] each
        attended, weights = attend_with_cache(
            *(self, q, k, v, past_key_values, attention_mask),
            scaling=self.softmax_scale,
            dropout=self.attn_dropout_p if self.training else 0.0,
        )
        return self.out_proj(attended), weights


class AlibiFalconAttention(FalconAttention):  # type: ignore[misc]
    """Falcon's attention, with the registered function in place of scores, softmax and dropout."""

    def forward(
        self,
        hidden_states: Tensor,
        alibi: Tensor | None,
        attention_mask: Tensor,
        position_ids: Tensor | None = None,
        layer_past: Any = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        **rest: Any,
    ) -> tuple[Tensor, None]:
        """Return the new hidden states, and no weights."""
        if alibi is None:
            raise Unsupported("a Falcon with rotary embedding: alibi is False in its configuration")
        heads = self._split_heads(self.query_key_value(hidden_states))
        q, k, v = (tensor.transpose(1, 2) for tensor in heads)
        attended, weights = attend_with_cache(
            *(self, q, k, v, layer_past, attention_mask),
            scaling=self.inv_norm_factor,
            dropout=self.attention_dropout.p if self.training else 0.0,
            output_attentions=output_attentions,
            slopes=alibi_slopes(self.num_heads).to(q.device) * self.inv_norm_factor,
        )
        return self.dense(attended), weights


REPLACEMENTS = {
    BloomAttention: AlibiBloomAttention,
    MptAttention: AlibiMptAttention,
    FalconAttention: AlibiFalconAttention,
}


@contextmanager
def alibi_attending(model: Any) -> Iterator[None]:
    """Let a BLOOM, MPT or Falcon use alibi_attention until the end of the block, then restore it.

    Raises Unsupported for a model without attention of these, or one already patched.
    """
    modules = [module for module in model.modules() if type(module) in REPLACEMENTS]
    if not modules:
        raise Unsupported(
            f"{type(model).__name__} has no attention of BLOOM, MPT or Falcon to replace"
        )
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, real_tokens)
    before = [(module, type(module)) for module in modules]
    implementation = model.config._attn_implementation_internal
    try:  # as set_attn_implementation does where a class allows it; for these it only warns
        model.config._attn_implementation_internal = NAME
        for module in modules:
            module.__class__ = REPLACEMENTS[type(module)]
        yield
    finally:
        model.config._attn_implementation_internal = implementation
        for module, original in before:
            module.__class__ = original


@contextmanager
def choices() -> Iterator[Counter[str]]:
    """Count the variants that take the calls of patched models."""
    counts: Counter[str] = Counter()

    def attend_and_count(
        module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **how: Any
    ) -> Any:
        out = attend(module, q, k, v, mask, **how)
        scale, padding = how.get("scaling"), padding_of(mask)
        counts[variant_for(q, k, v, scale=scale, key_padding=padding)] += 1
        return out

    ALL_ATTENTION_FUNCTIONS[NAME] = attend_and_count
    try:
        yield counts
    finally:
        del ALL_ATTENTION_FUNCTIONS[NAME]


def small_bloom(**changes: Any) -> Any:
    """Return a BLOOM of two layers with random weights, large enough for attention to matter."""
    size = {"vocab_size": 256, "n_layer": 2, "hidden_size": HEADS * HEAD_DIM, "n_head": HEADS}
    return BloomForCausalLM(BloomConfig(**size, initializer_range=0.2, **changes)).eval()


def small_mpt(**changes: Any) -> Any:
    """Return an MPT of two layers with random weights, large enough for attention to matter."""
    size = {"vocab_size": 256, "n_layers": 2, "d_model": HEADS * HEAD_DIM, "n_heads": HEADS}
    return MptForCausalLM(MptConfig(**size, initializer_range=0.2, **changes)).eval()


def small_falcon(**changes: Any) -> Any:
    """Return a Falcon of two layers, with 8 heads, whose slopes bfloat16 holds exactly."""
    size = {"vocab_size": 256, "num_hidden_layers": 2, "hidden_size": 8 * HEAD_DIM}
    settings = {"num_attention_heads": 8, "alibi": True, "multi_query": False}
    config = FalconConfig(**size | settings | changes, initializer_range=0.2)
    return FalconForCausalLM(config).eval()


@torch.no_grad()
def answers(model: Any, prompt: Tensor, padding: int = 0) -> tuple[Tensor, Tensor]:
    """Return the logits of a prompt and of NEW tokens decoded greedily after it, and the tokens.

    The first sequence begins with `padding` tokens of padding, whose logits are left out.
    """
    real = torch.ones_like(prompt)
    real[0, :padding] = 0
    done = model.generate(
        prompt,
        attention_mask=real,
        do_sample=False,
        min_new_tokens=NEW,
        max_new_tokens=NEW,
        return_dict_in_generate=True,
        output_logits=True,
    )
    logits = torch.cat(
        [model(prompt, attention_mask=real).logits, torch.stack(done.logits, dim=1)], dim=1
    )
    logits[0, :padding] = 0
    return logits.float(), done.sequences[:, prompt.shape[1] :]


def compare(model: Any) -> bool:
    """Print how alibi_attention changes a model's answers; return whether only by rounding."""
    alike = [compare_batch(model, padding) for padding in (0, PADDING)]
    return all(alike)


def compare_batch(model: Any, padding: int) -> bool:
    """Compare the answers to a batch whose first sequence has so much padding on its left."""
    prompt = torch.randint(256, (2, PROMPT), generator=torch.Generator().manual_seed(0))
    own_logits, own_tokens = answers(model, prompt, padding)
    with alibi_attending(model), choices() as counts:
        logits, tokens = answers(model, prompt, padding)
    picks = ", ".join(f"{name} in {count} calls" for name, count in counts.items())
    difference, largest = (logits - own_logits).abs().max(), own_logits.abs().max()
    same = torch.equal(tokens, own_tokens)
    batch = f"padded by {padding} on the left" if padding else "without padding"
    print(f"{type(model).__name__}, {batch}: auto took {picks}")
    print(f"  logits of up to {largest:.1f} differ by at most {difference:.1e}")
    print(f"  {NEW} tokens decoded with a cache are {'the same' if same else 'others'}")
    return same and bool(difference <= BUDGET * largest)


def main() -> None:
    """Compare patched and unpatched models."""
    torch.manual_seed(0)
    alike = [compare(build()) for build in (small_bloom, small_mpt, small_falcon)]
    if not all(alike):
        sys.exit("Error: the patched model answers something else")


if __name__ == "__main__":
    main()
