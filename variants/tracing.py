"""Whether torch traces or transforms the calls made now: what is made there must not outlive it."""

import torch
from torch.autograd import forward_ad


def is_traced() -> bool:
    """Return whether tensors made now may be fake, wrapped, dual, or part of a graph.

    That is so under FakeTensorMode and other dispatch modes, in exports and traces, in torch.func's
    transforms, and in forward-mode differentiation. Modes that only count, such as FlopCounterMode,
    can't be told from them.
    """
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
    )
