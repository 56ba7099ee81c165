"""Sort operations into those that cost no FLOPs by convention and those that nobody can count: no silent zero.

    find_class(operation) -> "view" | "pointwise" | "reduction" | ... | None

None means that the operation might be a product in disguise and has no formula: the tally then names it, and the count
is a lower bound. That is the default: only what torch itself tags or what a person has put on a list below is free.
Fourier transforms, factorisations, solvers and whatever comes from outside torch are on no list, on purpose.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

_TAGS = {
    torch.Tag.pointwise: "pointwise",
    torch.Tag.reduction: "reduction",
    torch.Tag.view_copy: "data movement",
    torch.Tag.inplace_view: "view",
}

_REVIEWED: dict[str, str] = {
    "view": "alias detach detach_ _unsafe_view _reshape_alias lift lift_fresh set_ resize_ resize_as_ _conj _neg_view",
    "data movement": """
        clone copy copy_ _to_copy _to_copy_ contiguous cat stack _cat hstack concatenate repeat repeat_interleave
        roll flip constant_pad_nd pad reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
        replication_pad2d replication_pad3d reflection_pad1d_backward reflection_pad2d_backward
        reflection_pad3d_backward replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward
        im2col col2im unfold_backward pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle tril
        tril_ triu triu_ diag_embed rot90 slice_backward select_backward slice_scatter select_scatter
        diagonal_scatter diagonal_backward as_strided_ as_strided_scatter split_with_sizes_copy
        _pack_padded_sequence _pack_padded_sequence_backward to_sparse _pin_memory _local_scalar_dense is_pinned
        item record_stream new_empty_strided swap _to_dense to_dense _to_sparse to_mkldnn
        mkldnn_reorder_conv2d_weight _coalesce unsafe_split unsafe_split_with_sizes _chunk_cat
        _nested_tensor_from_mask _nested_tensor_from_mask_left_aligned to_padded_tensor nested_to_padded_tensor
        _nested_from_padded _nested_from_padded_tensor _nested_tensor_from_tensor_list
        _jagged_to_padded_dense_forward _padded_dense_to_jagged_forward _nested_tensor_size _nested_tensor_strides
        _nested_tensor_storage_offsets _nested_view_from_buffer _nested_view_from_jagged _nested_get_offsets
        _nested_get_lengths _nested_get_values sparse_mask
        _sparse_mask_projection is_coalesced _nnz sparse_dim dense_dim _sparse_coo_tensor_with_dims_and_tensors
        _sparse_coo_tensor_with_dims _sparse_compressed_tensor_with_dims sparse_resize_ sparse_resize_and_clear_
        copy_sparse_to_sparse_ _coalesced_ _to_sparse_csr _to_sparse_csc _to_sparse_bsr _to_sparse_bsc
        to_sparse_csr to_sparse_csc to_sparse_bsr to_sparse_bsc _convert_indices_from_coo_to_csr
        _convert_indices_from_csr_to_coo _validate_sparse_coo_tensor_args _validate_compressed_sparse_indices
        _nested_get_jagged_dummy _nested_get_ragged_idx _nested_get_min_seqlen _nested_get_max_seqlen
        _nested_select_backward _sparse_sum _sparse_sum_backward""",
    "indexing": """
        embedding embedding_dense_backward embedding_backward _embedding_bag _embedding_bag_forward_only
        _embedding_bag_dense_backward _embedding_bag_backward embedding_renorm_ index index_put index_put_
        _index_put_impl_ _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate
        index_select index_select_backward index_add index_add_ index_copy index_copy_ index_fill index_fill_
        index_reduce index_reduce_ gather scatter scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_
        take put put_ masked_select masked_scatter masked_scatter_ masked_scatter_backward masked_fill masked_fill_
        nonzero nonzero_static where one_hot searchsorted bucketize unique_dim _unique2 unique_consecutive
        unique_dim_consecutive _unique bincount histc""",
    "creation": """
        empty empty_like empty_strided new_empty zeros zeros_like new_zeros ones ones_like new_ones full full_like
        new_full fill fill_ zero zero_ arange linspace logspace eye scalar_tensor tril_indices triu_indices range
        _efficientzerotensor empty_permuted vander hann_window hamming_window bartlett_window blackman_window
        complex polar""",
    "random": """
        rand rand_like randn randn_like randint randint_like randperm bernoulli bernoulli_ normal normal_ uniform
        uniform_ random random_ exponential exponential_ geometric geometric_ log_normal log_normal_ cauchy cauchy_
        multinomial poisson binomial _standard_gamma _sample_dirichlet native_dropout native_dropout_backward
        rrelu_with_noise rrelu_with_noise_ rrelu_with_noise_backward rrelu_with_noise_functional _fused_dropout
        _masked_scale normal_functional""",
    "normalisation": """
        native_batch_norm native_batch_norm_backward _native_batch_norm_legit _native_batch_norm_legit_no_training
        _native_batch_norm_legit_functional _batch_norm_with_update _batch_norm_with_update_functional
        batch_norm_backward _batch_norm_no_update _batch_norm_impl_index cudnn_batch_norm cudnn_batch_norm_backward
        miopen_batch_norm miopen_batch_norm_backward batch_norm_stats batch_norm_elemt batch_norm_gather_stats
        batch_norm_gather_stats_with_counts batch_norm_backward_reduce batch_norm_backward_elemt
        batch_norm_update_stats native_layer_norm native_layer_norm_backward native_group_norm
        native_group_norm_backward _fused_rms_norm _fused_rms_norm_backward rms_norm _weight_norm_interface
        _weight_norm_interface_backward _weight_norm_differentiable_backward renorm renorm_ linalg_vector_norm norm
        _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data _masked_softmax
        _masked_softmax_backward _safe_softmax _transform_bias_rescale_qkv local_response_norm""",
    "reduction": """
        sum mean prod amax amin aminmax _aminmax max min argmax argmin any all var std var_mean std_mean norm
        logsumexp median nanmedian mode kthvalue sort topk msort argsort cumsum cumsum_ cumprod cumprod_ cummax
        cummin _cummax_helper _cummin_helper logcumsumexp _logcumsumexp count_nonzero
        value_selecting_reduction_backward segment_reduce _segment_reduce_backward trace equal allclose is_same_size
        nansum nanmean dist _is_all_true _is_any_true logcumsumexp cumulative_trapezoid""",
    "loss": """
        nll_loss_forward nll_loss_backward nll_loss2d_forward nll_loss2d_backward nll_loss nll_loss2d mse_loss
        mse_loss_backward l1_loss smooth_l1_loss smooth_l1_loss_backward huber_loss huber_loss_backward
        binary_cross_entropy binary_cross_entropy_backward binary_cross_entropy_with_logits multi_margin_loss
        multi_margin_loss_backward multilabel_margin_loss_forward multilabel_margin_loss_backward _ctc_loss
        _ctc_loss_backward _cudnn_ctc_loss soft_margin_loss soft_margin_loss_backward kl_div""",
    "pooling": """
        max_pool2d_with_indices max_pool2d_with_indices_backward max_pool3d_with_indices
        max_pool3d_with_indices_backward max_pool1d max_pool2d max_pool3d mkldnn_max_pool2d
        mkldnn_max_pool2d_backward mkldnn_max_pool3d mkldnn_max_pool3d_backward max_pool2d_backward
        quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d avg_pool2d avg_pool2d_backward avg_pool3d
        avg_pool3d_backward avg_pool1d adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool2d_backward
        _adaptive_avg_pool3d _adaptive_avg_pool3d_backward mkldnn_adaptive_avg_pool2d
        mkldnn_adaptive_avg_pool2d_backward adaptive_max_pool2d adaptive_max_pool2d_backward adaptive_max_pool3d
        adaptive_max_pool3d_backward fractional_max_pool2d fractional_max_pool2d_backward fractional_max_pool3d
        fractional_max_pool3d_backward max_unpool2d max_unpool3d""",
    "interpolation": """
        upsample_nearest1d upsample_nearest1d_backward upsample_nearest2d upsample_nearest2d_backward
        upsample_nearest3d upsample_nearest3d_backward _upsample_nearest_exact1d _upsample_nearest_exact1d_backward
        _upsample_nearest_exact2d _upsample_nearest_exact2d_backward _upsample_nearest_exact3d
        _upsample_nearest_exact3d_backward upsample_linear1d upsample_linear1d_backward upsample_bilinear2d
        upsample_bilinear2d_backward _upsample_bilinear2d_aa _upsample_bilinear2d_aa_backward upsample_bicubic2d
        upsample_bicubic2d_backward _upsample_bicubic2d_aa _upsample_bicubic2d_aa_backward upsample_trilinear3d
        upsample_trilinear3d_backward grid_sampler_2d grid_sampler_2d_backward grid_sampler_3d
        grid_sampler_3d_backward _grid_sampler_2d_cpu_fallback _grid_sampler_2d_cpu_fallback_backward
        cudnn_grid_sampler cudnn_grid_sampler_backward affine_grid_generator affine_grid_generator_backward
        cudnn_affine_grid_generator cudnn_affine_grid_generator_backward""",
    "pointwise": """
        addr addr_ _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl _thnn_fused_gru_cell
        _thnn_fused_gru_cell_backward glu glu_backward glu_jvp glu_backward_jvp _prelu_kernel _prelu_kernel_backward
        gelu_ gelu gelu_backward log_sigmoid_forward log_sigmoid_backward hardtanh hardtanh_ hardtanh_backward relu_
        hardswish hardswish_ hardswish_backward hardsigmoid hardsigmoid_ hardsigmoid_backward silu silu_
        silu_backward mish mish_ mish_backward elu elu_ elu_backward leaky_relu leaky_relu_ leaky_relu_backward
        softplus_backward threshold threshold_ threshold_backward relu6 relu6_ celu celu_ selu selu_
        infinitely_differentiable_gelu_backward addcmul_ addcdiv_ lerp lerp_ bitwise_and_ isin cross linalg_cross
        _amp_foreach_non_finite_check_and_unscale_ _amp_update_scale_ nan_to_num_ quantize_per_tensor
        quantize_per_channel quantize_per_tensor_dynamic dequantize fake_quantize_per_tensor_affine_cachemask
        fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask_backward
        fake_quantize_per_channel_affine_cachemask_backward
        _fake_quantize_per_tensor_affine_cachemask_tensor_qparams fused_moving_avg_obs_fake_quant
        _fused_moving_avg_obs_fq_helper _linalg_check_errors _assert_async _functional_linalg_check_errors
        _assert_async _functional_assert_scalar _assert_tensor_metadata _assert_scalar sym_constrain_range_for_size
        sym_constrain_range sym_size sym_stride sym_numel sym_storage_offset _print unbind_copy""",
}
_CLASSES = {name: kind for kind, names in _REVIEWED.items() for name in names.split()}

_FREE_ELSEWHERE = {
    "quantized::add": "pointwise",
    "quantized::add_relu": "pointwise",
    "quantized::mul": "pointwise",
    "quantized::mul_relu": "pointwise",
    "quantized::hardswish": "pointwise",
    "quantized::leaky_relu": "pointwise",
    "torchvision::nms": "indexing",
    "torchvision::roi_align": "interpolation",
    "torchvision::_roi_align_backward": "interpolation",
    "torchvision::roi_pool": "pooling",
    "torchvision::_roi_pool_backward": "pooling",
    "torchvision::ps_roi_align": "interpolation",
    "torchvision::_ps_roi_align_backward": "interpolation",
    "torchvision::ps_roi_pool": "pooling",
    "torchvision::_ps_roi_pool_backward": "pooling",
}
_FREE_NAMESPACES = {
    "prim": "question",
    "prims": None,
    "_c10d_functional": "communication",
    "c10d": "communication",
    "profiler": "mark",
}


@functools.cache
def find_class(operation: Any) -> str | None:
    """Name why an operation costs no FLOPs by convention; None if nobody has reviewed it."""
    if not isinstance(operation, torch._ops.OpOverload):
        return None
    if operation.is_view:
        return "view"
    for tag, kind in _TAGS.items():
        if tag in operation.tags:
            return kind
    if _FREE_NAMESPACES.get(operation.namespace) is not None:
        return _FREE_NAMESPACES[operation.namespace]
    packet = operation.overloadpacket
    if operation.namespace != "aten":
        return _FREE_ELSEWHERE.get(f"{operation.namespace}::{packet.__name__}")
    name = packet.__name__
    if name.startswith(("_foreach_", "_fused_adam", "_fused_sgd", "_fused_adagrad")):
        return "optimizer"
    return _CLASSES.get(name)
