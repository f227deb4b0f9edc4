"""Each call in docs/calling.md runs as it is printed, on tensors of the sizes that it names."""

import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch

from alibi_bench import alibi_attention
from suite.conditions.policy import ROOT

PAGE = (ROOT / "docs" / "calling.md").read_text()
IMPORT = "    from alibi_bench import alibi_attention\n"
HEADS, HEAD_DIM = 8, 16


def snippets() -> dict[str, str]:
    """Return the code under each heading; that at the top under "Calling alibi_attention"."""
    sections = re.split(r"^##? (.+)\n", PAGE, flags=re.MULTILINE)[1:]
    code = {
        title: textwrap.dedent("".join(re.findall(r"^    .*\n", text, re.MULTILINE)))
        for title, text in zip(sections[::2], sections[1::2], strict=True)
    }
    return {title: lines for title, lines in code.items() if lines}


def tensor(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    """Return normal numbers [batch, heads, length, head_dim]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, HEADS, length, HEAD_DIM, generator=generator)


def whole(batch: int, q_len: int, kv_len: int) -> dict[str, Any]:
    """Return q, k and v."""
    return {"q": tensor(batch, q_len), "k": tensor(batch, kv_len, 1), "v": tensor(batch, kv_len, 2)}


def static_cache() -> dict[str, Any]:
    caches = {"k_cache": tensor(2, 300, 1), "v_cache": tensor(2, 300, 2)}
    return {"q": tensor(2, 1), "kv_lens": torch.tensor([250, 130]), **caches}


def pages() -> dict[str, Any]:
    tables = torch.tensor([[5, 0, 3], [1, 4, 2]])
    paged = {"k_pages": tensor(6, 16, 1), "v_pages": tensor(6, 16, 2)}
    return {
        "q": tensor(2, 1),
        "kv_lens": torch.tensor([40, 33]),
        "block_tables": tables.int(),
        **paged,
    }


def long_cache() -> dict[str, Any]:
    new = {
        "k_new": tensor(2, 1, 3),
        "v_new": tensor(2, 1, 4),
        "first_slot": torch.tensor([249, 129]),
    }
    return {**static_cache(), **new}


def parts() -> dict[str, Any]:
    everything = whole(1, 40, 90)
    k, v = everything["k"], everything["v"]
    return {
        **everything,
        "k_part": k[:, :, :30],
        "v_part": v[:, :, :30],
        "first_query": 50,
        "first_key": 0,
    }


ARGUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "Calling alibi_attention": lambda: whole(2, 70, 70),
    "A padded batch": lambda: whole(2, 4, 4),
    "A packed batch": lambda: whole(1, 1452, 1452),
    "A server's step: decode and prefill together": lambda: whole(1, 514, 7048),
    "A static cache": static_cache,
    "A cache in pages": pages,
    "A long cache": long_cache,
    "A sliding window": lambda: whole(1, 70, 70),
    "Part of the keys": parts,
    "Some of the heads": lambda: whole(2, 70, 70),
}


def run(title: str) -> dict[str, Any]:
    """Run the code under a heading and return its names, with the arguments that it was given."""
    names = {"torch": torch, **ARGUMENTS[title]()}
    code = snippets()[title]
    if title == "Part of the keys":
        code, _ = code.split("weights = ", 1)
    exec(textwrap.dedent(IMPORT) + code, names)
    return names


def plain(**arguments: Any) -> torch.Tensor:
    """Return what the formula answers for a dense call."""
    out: torch.Tensor = alibi_attention(variant="eager", **arguments)
    return out


def test_every_snippet_has_arguments_here() -> None:
    assert set(snippets()) == set(ARGUMENTS)


@pytest.mark.parametrize("title", ARGUMENTS)
def test_a_snippet_runs_as_printed_and_answers_in_the_shape_of_q(title: str) -> None:
    names = run(title)
    assert names["out"].shape == names["q"].shape
    assert torch.isfinite(names["out"]).all()


def test_padding_reaches_nothing_and_its_rows_are_0() -> None:
    names = run("A padded batch")
    q, k, v = (names[name][:1, :, 2:] for name in "qkv")
    torch.testing.assert_close(names["out"][:1, :, 2:], plain(q=q, k=k, v=v))
    assert not names["out"][0, :, :2].any()


@pytest.mark.parametrize(
    ("title", "queries", "keys"),
    [
        ("A packed batch", slice(900, 1412), slice(900, 1412)),
        ("A server's step: decode and prefill together", slice(1, 2), slice(4096, 5000)),
    ],
)
def test_a_packed_sequence_is_computed_as_if_alone(title: str, queries: slice, keys: slice) -> None:
    names = run(title)
    alone = plain(q=names["q"][:, :, queries], k=names["k"][:, :, keys], v=names["v"][:, :, keys])
    torch.testing.assert_close(names["out"][:, :, queries], alone)


@pytest.mark.parametrize("title", ["A static cache", "A long cache"])
def test_slots_beyond_the_filled_ones_are_not_read(title: str) -> None:
    names = run(title)
    k, v = (names[name][1:, :, :130] for name in ("k_cache", "v_cache"))
    torch.testing.assert_close(names["out"][1:], plain(q=names["q"][1:], k=k, v=v))


def test_a_sequence_in_pages_is_computed_as_in_one_piece() -> None:
    names = run("A cache in pages")
    k, v = (
        torch.cat([names[name][page] for page in (1, 4, 2)], dim=-2)[None, :, :33]
        for name in ("k_pages", "v_pages")
    )
    torch.testing.assert_close(names["out"][1:], plain(q=names["q"][1:], k=k, v=v))


def test_answers_over_parts_merge_by_the_lines_of_the_page() -> None:
    names = run("Part of the keys")
    (_, merge) = snippets()["Part of the keys"].split("weights = ", 1)
    names |= {"out_a": names["out"], "lse_a": names["lse"]}
    names["out_b"], names["lse_b"] = alibi_attention(
        names["q"], names["k"][:, :, 30:], names["v"][:, :, 30:], q_offset=20, return_lse=True
    )
    exec(f"weights = {merge}", names)
    torch.testing.assert_close(names["out"], plain(q=names["q"], k=names["k"], v=names["v"]))
