"""The profiler tells which attention kernel a call ran."""

import sys
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from suite.agreement.inputs import draw
from suite.lanes import kernel_names
from tests.suite.answers import case_of, variant


def test_stock_attention_on_a_cpu_names_the_flash_operator_once() -> None:
    q = torch.randn(1, 2, 16, 64)

    def two_calls() -> None:
        scaled_dot_product_attention(q, q, q, is_causal=True)
        scaled_dot_product_attention(q, q, q, is_causal=True)

    assert kernel_names.attention_kernels(two_calls) == [
        "scaled_dot_product_flash_attention_for_cpu"
    ]


def test_a_mask_that_wants_a_gradient_leaves_the_flash_operator() -> None:
    q = torch.randn(1, 2, 16, 64)
    mask = torch.zeros(16, 16, requires_grad=True)
    names = kernel_names.attention_kernels(
        lambda: scaled_dot_product_attention(q, q, q, attn_mask=mask)
    )
    assert names == ["scaled_dot_product_attention_math"]


def test_forward_and_backward_name_both_operators_in_order() -> None:
    q = torch.randn(1, 2, 16, 64, requires_grad=True)
    dout = torch.randn(1, 2, 16, 64)
    names = kernel_names.attention_kernels(
        lambda: torch.autograd.grad(scaled_dot_product_attention(q, q, q), q, dout)
    )
    assert names == [
        "scaled_dot_product_flash_attention_for_cpu",
        "scaled_dot_product_flash_attention_for_cpu_backward",
    ]


def test_attention_in_plain_operators_names_its_products_and_its_softmax() -> None:
    q = torch.randn(1, 2, 16, 64)
    assert kernel_names.attention_kernels(lambda: torch.softmax(q @ q.mT, dim=-1) @ q + 1) == [
        "bmm",
        "softmax",
    ]


def test_kernels_that_a_generated_module_calls_are_named_after_the_operators() -> None:
    generated: dict[str, object] = {"cpp_fused_add_0": torch.neg, "cpp_fused_mul_1": torch.abs}
    exec("def call(q): return cpp_fused_mul_1(q @ cpp_fused_add_0(q))", generated)
    call = cast(Callable[[torch.Tensor], torch.Tensor], generated["call"])
    q = torch.randn(16, 16)
    names = kernel_names.attention_kernels(lambda: call(q))
    assert names == ["mm", "cpp_fused_mul_1", "cpp_fused_add_0"]


@pytest.mark.heavy
@pytest.mark.inductor
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("flex", "cpp_fused", "flex_attention"), ("compile", "bmm", "softmax")],
)
def test_kernels_that_inductor_made_are_named(name: str, first: str, last: str) -> None:
    case = case_of(dtype="bfloat16")
    inputs, attention = draw(case, 0, "before", kernel_names.CPU), variant(name, case)
    with torch.no_grad():

        def call() -> object:
            return attention(inputs.q, inputs.k, inputs.v, inputs.slopes)

        call()
        names = kernel_names.attention_kernels(call)
    assert names[0].startswith(first)
    assert names[-1].startswith("cpp_fused")
    assert last in names[-1]
    assert len(names) <= 3


def test_another_profiler_of_the_thread_is_put_back_even_if_the_call_raises() -> None:
    def profile(*_: object) -> None:
        pass

    def raises() -> None:
        raise ValueError("on demand")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        with pytest.raises(ValueError, match="on demand"):
            kernel_names.attention_kernels(raises)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(before)


def test_the_call_is_made_once() -> None:
    calls: list[int] = []
    kernel_names.attention_kernels(lambda: calls.append(1))
    assert calls == [1]


FMHA = (
    "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<"
    "cutlass::bfloat16_t, cutlass::arch::Sm80, true, 64, 64, 64, true, true>::Params)"
)
FMHA_BACKWARD = (
    "fmha_cutlassB_bf16_aligned_128x64_k64_sm80(PyTorchMemEffAttention::AttentionBackwardKernel<"
    "cutlass::arch::Sm80, cutlass::bfloat16_t, true, false, true, 128, 64, 64, false>::Params)"
)
CUDNN = (
    "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x64_4x1x1_kernel0_0"
)
CUDNN_BACKWARD = (
    "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26_64x64x128_2x1x1_kernel0_0"
)
FLASH = (
    "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, false, false, "
    "cutlass::bfloat16_t, pytorch_flash::Flash_kernel_traits<64, 128, 128, 4, "
    "cutlass::bfloat16_t> >, false, true, false, false, true, true, false, false>"
    "(pytorch_flash::Flash_fwd_params)"
)
FLASH_BACKWARD = (
    "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64, "
    "128, 128, 8, 4, 4, 4, false, false, cutlass::bfloat16_t> >(pytorch_flash::Flash_bwd_params)"
)
FLASH_3 = (
    "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<"
    "flash::CollectiveMainloopFwdSm90<2, cute::tuple<cute::C<1> > > > > >(Params)"
)
FLEX = "triton_tem_fused_flex_attention_0"
COMPILED = "triton_per_fused__softmax_add_mul_0"
CUTLASS_GEMM = (
    "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8>"
    "(cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8::Params)"
)
GEMM_UNIVERSAL = "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<int> >(Params)"
SOFTMAX = (
    "void (anonymous namespace)::softmax_warp_forward<float, float, float, 7, false, false>"
    "(float*, float const*, int, int, int, bool const*, int, bool)"
)
LONG_SOFTMAX = (
    "void at::native::(anonymous namespace)::cunn_SoftMaxForward<8, c10::BFloat16, float, "
    "c10::BFloat16, at::native::(anonymous namespace)::SoftMaxForwardEpilogue>(c10::BFloat16*)"
)
MOVES_AND_ADDS = [
    "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>, "
    "std::array<char*, 3ul> >(int, at::native::CUDAFunctor_add<c10::BFloat16>)",
    "void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<"
    "at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda(float)#1}> >(int)",
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, "
    "at::native::func_wrapper_t<float, at::native::sum_functor<float> > > >(float)",
    "void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>(float const*)",
    "Memcpy DtoD (Device -> Device)",
    "Memset (Device)",
]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        (FMHA, "fmha_cutlassF_bf16_aligned_64x64_rf_sm80"),
        (FMHA_BACKWARD, "fmha_cutlassB_bf16_aligned_128x64_k64_sm80"),
        (CUDNN, CUDNN),
        (CUDNN_BACKWARD, CUDNN_BACKWARD),
        (FLASH, "flash_fwd_kernel"),
        (FLASH_BACKWARD, "flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel"),
        (FLASH_3, "FlashAttnFwdSm90"),
        (FLEX, FLEX),
        (COMPILED, COMPILED),
        ("ampere_sgemm_128x64_tn", "ampere_sgemm_128x64_tn"),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT"),
        (CUTLASS_GEMM, "cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8"),
        (GEMM_UNIVERSAL, "GemmUniversal"),
        ("void gemv2T_kernel_val<int, int, float, float, float>(float)", "gemv2T_kernel_val"),
        (SOFTMAX, "softmax_warp_forward"),
        (LONG_SOFTMAX, "cunn_SoftMaxForward"),
    ],
)
def test_a_device_kernel_is_known_by_one_word_of_its_name(name: str, word: str) -> None:
    assert kernel_names.device_kernel_names([name]) == [word]


@pytest.mark.parametrize("name", MOVES_AND_ADDS)
def test_kernels_that_move_or_add_are_left_out(name: str) -> None:
    assert kernel_names.device_kernel_names([name]) == []


def test_the_kernels_of_the_math_backend_are_named_in_order_and_once() -> None:
    ran = [MOVES_AND_ADDS[0], "ampere_sgemm_128x64_tn", MOVES_AND_ADDS[1], SOFTMAX]
    assert kernel_names.device_kernel_names([*ran, "ampere_sgemm_128x64_nn", *ran]) == [
        "ampere_sgemm_128x64_tn",
        "softmax_warp_forward",
        "ampere_sgemm_128x64_nn",
    ]


def test_a_results_file_gets_few_and_short_names() -> None:
    names = kernel_names.device_kernel_names(
        f"triton_poi_fused_{number}_{'add_' * 50}" for number in range(20)
    )
    assert len(names) == kernel_names.MOST_NAMES
    assert {len(name) for name in names} == {kernel_names.LONGEST_NAME}
    assert names[0].startswith("triton_poi_fused_0_")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no gpu here")
def test_a_product_and_a_softmax_on_a_gpu_are_named_and_an_addition_is_not() -> None:
    device = torch.device("cuda")
    q = torch.randn(1, 2, 256, 64, device=device)
    calls: list[int] = []

    def attention() -> None:
        calls.append(1)
        torch.softmax(q @ q.mT + 1.0, dim=-1)

    attention()
    product, softmax = kernel_names.attention_kernels(attention, device)
    assert "gemm" in product or "nvjet" in product
    assert "softmax" in softmax.lower()
    assert calls == [1, 1]
