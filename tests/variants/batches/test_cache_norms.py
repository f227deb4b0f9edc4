"""Norms of a cache change no answer: a variant reads them, or goes without."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.variants.batches.problems import numbers, padding
from tests.variants.formula import NAMES, UNCOMPILED
from variants.attention import alibi_attention, variant_for
from variants.batches.cache_norms import append_norms, cache_norms
from variants.dispatch import auto_order
from variants.problem import Unsupported

KV_LEN = 200
FORMS: dict[str, dict[str, Any]] = {
    "dense": {},
    "static cache": {"kv_lens": torch.tensor([150, 33], dtype=torch.int32)},
    "padding": {"key_padding": padding(KV_LEN, (50, KV_LEN), (0, KV_LEN))},
    "window": {"window": (30, 0)},
}


def step(heads: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    q, k = numbers(1, 2, heads, 1, 16), numbers(2, 2, 2, KV_LEN, 16)
    return q, k, numbers(3, 2, 2, KV_LEN, 24)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [name for name in NAMES if name in UNCOMPILED] + ["auto"])
def test_a_variant_answers_as_without_norms(name: str, form: str) -> None:
    q, k, v = step()
    v = v[..., :16].contiguous()
    lengths = {part: FORMS[form][part] for part in FORMS[form] if part != "window"}
    norms = cache_norms(k, v, **lengths)
    try:
        wanted = alibi_attention(q, k, v, variant=name, **FORMS[form])
    except Unsupported:
        with pytest.raises(Unsupported):
            alibi_attention(q, k, v, variant=name, norms=norms, **FORMS[form])
        return
    found = alibi_attention(q, k, v, variant=name, norms=norms, **FORMS[form])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_auto_takes_the_variant_that_reads_them() -> None:
    q, k, v = step()
    assert variant_for(q, k, v, norms=cache_norms(k, v)) == "native_window"


def test_tokens_are_generated_with_norms_as_without() -> None:
    """An early new key wins long after its block has left the nearest keys."""
    q, k, v = step()
    k, v = (torch.cat([part, part], dim=2) for part in (k, v))
    lens = torch.tensor([100, 40], dtype=torch.int32)
    for row, slot in ((0, 105), (1, 50)):
        queries = q[row, ::2, 0]
        k[row, :, slot] = 100 * queries / queries.norm(dim=-1, keepdim=True)
    norms = cache_norms(k, v, kv_lens=lens)
    norms[:, :, 1] = cache_norms(k, v)[:, :, 1]  # or keys with values of no size would all be read
    for _ in range(290):
        new = lens.clone()
        lens = lens + 1
        new_k, new_v = (part[torch.arange(2), :, new.long()][:, :, None] for part in (k, v))
        append_norms(norms, new_k, new_v, new)
        found = alibi_attention(q, k, v, kv_lens=lens, norms=norms)
        torch.testing.assert_close(found, alibi_attention(q, k, v, kv_lens=lens))


def test_norms_of_other_digits_are_not_read_under_autocast() -> None:
    """Rounded to bfloat16 a key can be longer than its norm says."""
    kv_len = 8314
    q = torch.full((1, 1, 1, 64), 1024.0)
    k = torch.zeros(1, 1, kv_len, 64)
    k[:, :, 63] = 1.00415
    v = numbers(3, 1, 1, kv_len, 64)
    given: dict[str, Any] = {"slopes": torch.ones(1), "variant": "native_window"}
    for call in (alibi_attention, torch.compile(alibi_attention, backend="aot_eager")):
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            found = call(q, k, v, norms=cache_norms(k, v), **given)
            torch.testing.assert_close(found, alibi_attention(q, k, v, **given))
        assert torch.cosine_similarity(found.float()[0, 0, 0], v[0, 0, 63], dim=0) > 0.9


def test_auto_follows_its_selection_where_no_variant_reads_norms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auto_order, "static_order", lambda *_: ("sdpa_folded",))
    monkeypatch.setattr(auto_order, "device_selections", lambda *_: None)
    q, k, v = (numbers(part, 1, 2, 201, 16) for part in range(3))
    norms = cache_norms(k, v)
    assert variant_for(q, k, v, norms=norms) == variant_for(q, k, v) == "sdpa_folded"
    assert variant_for(q[:, :, :1], k, v, norms=norms) == "native_window"


@pytest.mark.parametrize("name", ["native_window", "auto"])
def test_a_variant_that_reads_norms_believes_them(name: str) -> None:
    q, k, v = step()
    v = v[..., :16].contiguous()
    given: dict[str, Any] = {"slopes": torch.ones(4), "variant": name}
    k[:, :, :64] = torch.nan
    assert not alibi_attention(q, k, v, norms=torch.zeros(2, 2, 2, 4), **given).isnan().any()
    assert alibi_attention(q, k, v, **given).isnan().all()


def test_norms_take_part_in_no_graph_of_gradients() -> None:
    k = numbers(2, 1, 2, 70, 16).requires_grad_()
    norms = cache_norms(k, k)
    append_norms(norms, k[:, :, :1], k[:, :, :1], 69)
    assert not norms.requires_grad


def test_a_graph_takes_norms() -> None:
    q, k, v = step()
    norms = cache_norms(k, v)
    call = torch.compile(alibi_attention, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(call(q, k, v, norms=norms), alibi_attention(q, k, v))


def test_gradients_are_those_without_norms() -> None:
    q, k, v = (part.requires_grad_() for part in step())
    gradients = [
        torch.autograd.grad(
            alibi_attention(q, k, v, variant="native_window", norms=norms).square().sum(), (q, k, v)
        )
        for norms in (None, cache_norms(k.detach(), v.detach()))
    ]
    for found, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("norms", "complaint"),
    [
        ([1.0], r"norms are a list: give a tensor, float32 \[2, 2, 2, 4 or more\] on cpu"),
        (torch.zeros(2, 2, 2, 3), r"norms are torch.float32 \[2, 2, 2, 3\] on cpu: give float32"),
        (torch.zeros(2, 2, 4), r"\[2, 2, 4\] on cpu: give float32 \[2, 2, 2, 4 or more\]"),
        (torch.zeros(2, 2, 2, 4, dtype=torch.float64), "norms are torch.float64"),
        (torch.zeros(2, 2, 2, 4, device="meta"), "on meta: give float32"),
    ],
)
@pytest.mark.parametrize("name", ["native_window", "eager"])
def test_norms_that_do_not_fit_are_refused(norms: Any, complaint: str, name: str) -> None:
    q, k, v = step()
    with pytest.raises(ValueError, match=complaint):
        alibi_attention(q, k, v, norms=norms, variant=name)


@pytest.mark.parametrize(
    ("shape", "first", "complaint"),
    [
        ((2, 2, 2, 4), 256, "first 256: 1 new keys are not inside of these norms' 256 slots"),
        ((2, 2, 2, 4), -1, "first -1: 1 new keys are not inside"),
        (
            (3, 2, 2, 4),
            0,
            r"norms are \[3, 2, 2, 4\] and k \[2, 2, 1, 16\]: give \[2, 2, 2, blocks",
        ),
        ((2, 4, 2, 4), 0, r"norms are \[2, 4, 2, 4\] and k"),
        ((2, 2, 8), 0, r"norms are \[2, 2, 8\] and k"),
    ],
)
def test_new_keys_that_are_not_of_these_norms_are_refused(
    shape: tuple[int, ...], first: int, complaint: str
) -> None:
    norms, new = torch.zeros(shape), torch.ones(2, 2, 1, 16)
    with pytest.raises(ValueError, match=complaint):
        append_norms(norms, new, new, first)
    assert not norms.any()
