"""Calls of the C++ kernel as it is built for Arm: each is a process of QEMU."""

import math
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from variants.native.kernel_arguments import EVERY_KEY
from variants.native.kernel_library import CHUNK
from variants.problem import alibi_slopes
from variants.windows import tolerance

COMPILER, PROCESSOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
SCALE = 0.2
_KERNEL = Path(__file__).parents[4] / "variants" / "native" / "kernel"
_FEW = {torch.float32: 1, torch.bfloat16: 2, torch.float16: 3}


class Call(NamedTuple):
    """Tensors as attention takes them, and whether a query sees later keys."""

    q: Tensor
    k: Tensor
    v: Tensor
    causal: bool = True


def build(folder: Path, processor: str) -> Path:
    """Build the kernel and its caller for a processor, such as armv8-a; return the program."""
    program = folder / "answer"
    command = [COMPILER, "-O3", f"-march={processor}", "-std=c++17", "-fno-math-errno", "-fopenmp"]
    source = Path(__file__).with_name("answer.cpp")
    subprocess.run(
        [*command, "-static", "-Wno-psabi", f"-I{_KERNEL}", source, "-o", program], check=True
    )
    return program


def attention_of(program: Path, call: Call) -> Tensor:
    """Return the attention of blocks of float32 queries, or of few queries of any dtype."""
    few = call.q.shape[2] <= 16
    (out,) = _answers(program, call, _FEW[call.q.dtype] if few else 0, [_out_shape(call)])
    return out.view(_out_shape(call))


def gradients(program: Path, call: Call, d_out: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of q, k and v of each query head, and of the slopes: float32."""
    batch, heads, q_len, dim = call.q.shape
    lengths_and_dims = ((q_len, dim), (call.k.shape[2], dim), (call.v.shape[2], call.v.shape[3]))
    wide = [(batch, heads, length, -(-dim // CHUNK) * CHUNK) for length, dim in lengths_and_dims]
    shapes = [_out_shape(call), *wide, (batch, heads)]
    _, *parts, d_slopes = _answers(program, call, 4, shapes, d_out)
    rows = zip(parts, lengths_and_dims, strict=True)
    return (*(part[..., :dim] for part, (_, dim) in rows), d_slopes.sum(dim=0))


def _out_shape(call: Call) -> tuple[int, ...]:
    return (*call.q.shape[:3], call.v.shape[3])


def _answers(
    program: Path, call: Call, kernel: int, shapes: list[tuple[int, ...]], *others: Tensor
) -> list[Tensor]:
    q, k, v, causal = call
    sizes = (*q.shape[:2], k.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3])
    share = tolerance(q.dtype) / (1 if causal else 2)
    numbers = (kernel, q.element_size(), *sizes, 0 if causal else EVERY_KEY, 2)
    header = struct.pack("11q2f", *numbers, SCALE, math.log(share) - 0.02)
    tensors = (q, k, v, alibi_slopes(q.shape[1]), *others)
    question, answer = program.with_name("question"), program.with_name("answer.bin")
    question.write_bytes(header + b"".join(_bytes(tensor) for tensor in tensors))
    subprocess.run([PROCESSOR, program, question, answer], check=True, timeout=240)
    content, found = bytearray(answer.read_bytes()), []
    for shape in shapes:
        count = math.prod(shape)
        found.append(torch.frombuffer(content, dtype=q.dtype, count=count).view(shape))
        content = content[count * q.element_size() :]
    assert not content
    return found


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()
