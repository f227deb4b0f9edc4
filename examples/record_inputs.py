"""Record q, k and v of a transformers model, to race backends on them instead of random numbers.

    python examples/record_inputs.py --out tiny.safetensors   # trains a small model, records it
    python run_bench.py run --inputs tiny.safetensors --variants sdpa_mask,native_window

Needs the extra: pip install -e '.[peers]'. Of a model of your own:

    with recording(model) as layers:
        model(input_ids)
    write(layers, Path("mine.safetensors"), only=[0, 11], bias_max=8)

It works for BLOOM, MPT and Falcon, through examples/transformers_patch.py, and for every model that
takes an `attn_implementation`. What is recorded is what attention gets: behind rotary embedding, if
a model has that. The text that the small model learns is the source code of sympy, which torch
installs. A layer of 1280 tokens takes 1 MB.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

try:
    import torch
    from safetensors.torch import save_file
    from torch import Tensor
    from torch.nn.functional import cross_entropy
    from transformers import (
        AttentionInterface,
        AttentionMaskInterface,
        BloomConfig,
        BloomForCausalLM,
    )
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from examples.transformers_patch import NAME, REPLACEMENTS, alibi_attending
    from examples.transformers_patch import attend as attend_with_alibi
except ImportError as error:
    if __name__ != "__main__":
        raise
    print(f"Error: {error}: pip install -e '.[peers]' installs what this needs", file=sys.stderr)
    raise SystemExit(2) from None

Layers = dict[int, tuple[Tensor, Tensor, Tensor]]
"""By a layer's number: q [batch, heads, length, head_dim], k and v [batch, kv_heads, ...]."""

RECORDER = "alibi_recorder"
HEADS, WIDTH, DEPTH = 8, 128, 4
LENGTH, BATCH = 256, 16
RECORDED_TOKENS = 1280


@contextmanager
def recording(model: Any) -> Iterator[Layers]:
    """Yield a dictionary that fills with what each layer's attention gets, while the block runs."""
    layers: Layers = {}
    is_alibi = any(type(module) in REPLACEMENTS for module in model.modules())
    attend = attend_with_alibi if is_alibi else ALL_ATTENTION_FUNCTIONS["sdpa"]

    def record(module: Any, q: Tensor, k: Tensor, v: Tensor, *rest: Any, **words: Any) -> Any:
        layers[module.layer_idx] = q.detach().clone(), k.detach().clone(), v.detach().clone()
        return attend(module, q, k, v, *rest, **words)

    if is_alibi:
        with alibi_attending(model):
            ALL_ATTENTION_FUNCTIONS[NAME] = record
            try:
                yield layers
            finally:
                del ALL_ATTENTION_FUNCTIONS[NAME]
        return
    before = model.config._attn_implementation
    AttentionInterface.register(RECORDER, record)
    AttentionMaskInterface.register(RECORDER, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(RECORDER)
    try:
        yield layers
    finally:
        model.set_attn_implementation(before)


def write(
    layers: Layers,
    path: Path,
    only: Sequence[int] | None = None,
    dtype: torch.dtype = torch.bfloat16,
    slopes: Tensor | None = None,
    **conventions: object,
) -> None:
    """Write recorded layers as a file for `--inputs`.

    `slopes` [heads] are those of every layer, if they follow no rule. `conventions` are those that
    are not the default: bias_max, slope_scale, scale, causal.
    """
    tensors = {
        f"layer{number}.{name}": tensor.to(dtype).contiguous()
        for number, layer in sorted(layers.items())
        if only is None or number in only
        for name, tensor in zip("qkv", layer, strict=True)
    }
    if slopes is not None:
        names = {name.rpartition(".")[0] for name in tensors}
        tensors |= {f"{name}.slopes": slopes.float().clone() for name in names}
    save_file(tensors, path, {name: str(value).lower() for name, value in conventions.items()})


def text() -> Tensor:
    """Return sympy's source code as bytes: [length] int64."""
    spec = find_spec("sympy")
    assert spec is not None
    assert spec.origin is not None
    files = sorted(Path(spec.origin).parent.rglob("*.py"))
    source = b"".join(file.read_bytes() for file in files if "tests" not in file.parts)
    return torch.frombuffer(bytearray(source), dtype=torch.uint8).long()


def train_bloom(seconds: float, data: Tensor, seed: int = 0) -> Any:
    """Return a small BLOOM that has learnt to predict bytes for so many seconds."""
    torch.manual_seed(seed)
    model = BloomForCausalLM(
        BloomConfig(vocab_size=256, hidden_size=WIDTH, n_layer=DEPTH, n_head=HEADS)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    ends_at, step = time.monotonic() + seconds, 0
    while (left := ends_at - time.monotonic()) > 0:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * min(1.0, 0.05 + left / seconds)
        starts = torch.randint(len(data) - LENGTH - 1, (BATCH,))
        rows = torch.stack([data[start : start + LENGTH + 1] for start in starts.tolist()])
        logits = model(rows[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            bits = loss.item() / 0.6931
            print(f"step {step}: {bits:.2f} bits a byte, {left:.0f} s left", file=sys.stderr)
    return model.eval()


def largest_score(q: Tensor, k: Tensor) -> float:
    """Return the largest scaled product of a layer, which says how sharp its attention is."""
    return float((q @ k.transpose(-1, -2)).abs().max() / math.sqrt(q.shape[-1]))


def main() -> None:
    """Train, record the layers with the smallest and the largest scores, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("tiny_alibi.safetensors"))
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to train")
    options = parser.parse_args()
    if not options.minutes > 0 or not options.out.absolute().parent.is_dir():
        parser.error("--minutes: over 0; --out: in a folder that is there")
    data = text()
    model = train_bloom(60 * options.minutes, data)
    start = len(data) // 2
    with torch.no_grad(), recording(model) as layers:
        model(data[start : start + RECORDED_TOKENS][None], use_cache=False)
    scores = {number: largest_score(q, k) for number, (q, k, _) in layers.items()}
    for number, score in scores.items():
        print(f"layer {number}: largest score {score:.1f}")
    ends = [min(scores, key=scores.__getitem__), max(scores, key=scores.__getitem__)]
    write(layers, options.out, only=ends)
    size = options.out.stat().st_size / 1e6
    print(f"{options.out}: layers {ends[0]} and {ends[1]}, {size:.2f} MB")


if __name__ == "__main__":
    main()
