"""The C++ kernels under AddressSanitizer and UBSan: no draw of shapes leaves the tensors.

ThreadSanitizer is left out: it knows nothing of libgomp's barriers, and takes each for a race.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from variants.compiled.cpp_build import cpp_compiler

FUZZ = """
import random
import torch
from variants.batches.cache_norms import cache_norms
from variants.compiled.flags import FLAGS
from variants.native import kernel_call, kernel_gradients, kernel_library
from variants.native.kernel_arguments import EVERY_KEY, Reach
from variants.native.kernel_call import attend
from variants.native.kernel_gradients import gradients
from variants.problem import alibi_slopes

checked = kernel_library.load(
    [*FLAGS, "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
)
kernel_call.library = kernel_gradients.library = lambda: checked
draw = random.Random(SEED)
for _ in range(CALLS):
    batch, kv_heads, group = draw.randint(1, 2), draw.randint(1, 3), draw.randint(1, 3)
    dim, value_dim = (draw.choice([1, 7, 16, 20, 64, 80, 128, 256]) for _ in range(2))
    kv_len = draw.choice([1, 5, 63, 64, 65, 130, 300, 1100])
    q_len = draw.choice([1, min(4, kv_len), min(kv_len, 300), min(kv_len, 300) + 70])
    reached = draw.choice([0, 0, 1, 70, EVERY_KEY] if q_len <= kv_len else [EVERY_KEY])
    reach = Reach(draw.choice([0, 3, 64, 100, EVERY_KEY]), reached)
    dtype = draw.choice([torch.float32, torch.bfloat16, torch.float16])
    torch.set_num_threads(draw.choice([1, 2, 3]))
    heads = kv_heads * group
    q, d_out = (torch.randn(batch, heads, q_len, some).to(dtype) for some in (dim, value_dim))
    k, v = (torch.randn(batch, kv_heads, kv_len, some).to(dtype) for some in (dim, value_dim))
    sequences, slopes = None, alibi_slopes(heads)
    if draw.random() < 0.5:
        first, first_key = draw.randrange(q_len), draw.randrange(kv_len)
        before = [0, 0, first, 0, first_key, draw.randint(-20, 80)]
        after = [0, first, q_len - first, first_key, kv_len - first_key, draw.randint(-20, 80)]
        sequences = torch.tensor([before, after])
    if draw.random() < 0.3:
        slopes = slopes.expand(batch, -1).contiguous()
    if draw.random() < 0.3:
        k, d_out = (part.transpose(1, 2).contiguous().transpose(1, 2) for part in (k, d_out))
    inputs = (q, k, v, slopes)
    how = {"sequences": sequences}
    norms = cache_norms(k, v) if draw.random() < 0.5 else None
    done = attend(*inputs, 0.2, reach, wants_log_sum_exp=True, norms=norms, **how)
    d_log_sum_exp = torch.randn_like(done.log_sum_exp) if draw.random() < 0.3 else None
    outputs = (done.out, done.log_sum_exp)
    gradients(d_out, d_log_sum_exp, *inputs, *outputs, 0.2, reach, **how)
    if q_len > 16:
        continue
    page_size = draw.choice([1, 2, 16, 64, 256])
    pages = batch * -(-kv_len // page_size)
    tables = torch.randperm(pages).int().reshape(batch, -1)
    k, v = (part[:1].expand(pages, -1, -1, -1) for part in (k, v))
    k, v = (part[:, :, [slot % kv_len for slot in range(page_size)]] for part in (k, v))
    if draw.random() < 0.5:
        k = k.transpose(1, 2).contiguous().transpose(1, 2)
    lines = [
        [entry, 0, q_len, 0, keys, keys - q_len + draw.choice([0, 0, 3, -3])]
        for entry in range(batch)
        for keys in [draw.randint(0, kv_len)]
    ]
    if draw.random() < 0.3:
        lines += [[0, 0, 1, kv_len // 2, kv_len - kv_len // 2, 2]]
    inputs, lines = (q, k, v, slopes), torch.tensor(lines[::-1])
    attend(*inputs, 0.2, reach, sequences=lines, norms=norms, block_tables=tables)
for _ in range(CALLS // 2):
    lens = [(draw.choice([0, 1, 3, 16, 17, 40]), draw.choice([0, 9, 64, 130])) for _ in range(5)]
    (q_len, kv_len), lines = (3, 7), []
    for queries, more in lens:
        lines.append([0, q_len, queries, kv_len, queries + more, more])
        q_len, kv_len = q_len + queries, kv_len + queries + more
    dtype = draw.choice([torch.float32, torch.bfloat16, torch.float16])
    torch.set_num_threads(draw.choice([1, 2, 3]))
    q, k, v = (torch.randn(1, 2, length, 20).to(dtype) for length in (q_len, kv_len, kv_len))
    norms = cache_norms(k, v) if draw.random() < 0.5 else None
    reach = Reach(draw.choice([3, 100, EVERY_KEY]), draw.choice([0, 0, 70]))
    attend(q, k, v, alibi_slopes(2), 0.2, reach, sequences=torch.tensor(lines), norms=norms)
print("clean", flush=True)
import os
os._exit(0)
"""


def runtime_of(sanitizer: str) -> str:
    """Return the path of a sanitizer's library. Skips where the compiler has none."""
    command = [cpp_compiler("a test"), f"-print-file-name=lib{sanitizer}.so"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip(f"the compiler has no lib{sanitizer}.so")
    return path


@pytest.mark.heavy
def test_no_draw_of_shapes_reads_or_writes_beside_the_tensors() -> None:
    script = FUZZ.replace("SEED", "1").replace("CALLS", "200")
    environment = {
        **os.environ,
        "LD_PRELOAD": f"{runtime_of('asan')} {runtime_of('ubsan')}",
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.stdout == "clean\n", (done.returncode, done.stderr[-3000:])
