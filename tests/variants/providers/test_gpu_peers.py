"""Other projects' GPU kernels as they are installed; not yet run on a GPU."""

import importlib
from typing import Any

import pytest
import torch

from tests.variants.providers.specs import tensors
from tests.variants.providers.test_gpu_arguments import CASES, DECLINED, spec_of
from variants.catalog import PEERS
from variants.host.software import is_installed
from variants.problem import alibi_slopes
from variants.reference import attend

ON_GPUS = {peer.name: peer for peer in PEERS if peer.device in {"any", "cuda"}}


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ON_GPUS)
def test_a_peer_agrees_with_the_definition_on_a_gpu(name: str, case: str) -> None:
    peer = ON_GPUS[name]
    if not is_installed(peer.package) or (name, case) in DECLINED:
        pytest.skip(f"{peer.package} is not installed, or declines {case}")
    spec = spec_of(**CASES[case])
    q, k, v = (tensor.cuda() for tensor in tensors(spec))
    slopes = alibi_slopes(spec.heads).cuda()
    module: Any = importlib.import_module(peer.module)
    with torch.no_grad():
        out = module.prepare(spec, **peer.options)(q, k, v, slopes)
    exact = attend(q.double(), k.double(), v.double(), slopes, scale=spec.scale, causal=True)
    assert (out.double() - exact).norm() / exact.norm() < 5e-3
