"""Convolution, 2x2 max-pooling and ReLU as one training step: the reason the study trains in minutes.

Eager PyTorch spends more time in pooling and ReLU than in the small convolutions of a LeNet. Both functions below
compute exactly max_pool2d(relu(conv2d(x))) and its gradient (first maximum wins a tie, as in PyTorch), with the
work laid out so that every pass is contiguous. They are for training on a CPU only: evaluation and export use
the plain operators, and a test compares both.

`python -m train.experiments.throughput` measures the speed-up.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor
from torch.autograd import Function

_convolution_backward = torch.ops.aten.convolution_backward
_max_pool_backward = torch.ops.aten.max_pool2d_with_indices_backward
_threshold_backward = torch.ops.aten.threshold_backward
_JUST_BELOW_ZERO = -torch.finfo(torch.float32).tiny  # threshold_backward(g, d, this): g where d >= 0, without a mask


def conv_relu_pool(images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """max_pool2d(relu(conv2d(images, weight, bias, padding=padding)), 2), differentiable once.

    Args:
        images: float32 [N, C, H, W].
        weight: float32 [O, C, K, K].
        bias: float32 [O].

    Returns:
        float32 [N, O, h // 2, w // 2] for a convolution output of height h and width w.
    """
    function = _HiddenLayer if images.requires_grad else _InputLayer
    result: Tensor = function.apply(images, weight, bias, padding)  # type: ignore[no-untyped-call]
    return result


class _InputLayer(Function):
    """For images that need no gradient: one convolution of stride 2 gives all four values of each pooling window.

    The kernel is placed at its four offsets in a kernel one larger, which makes four times the output channels at a
    quarter of the positions. Pooling is then a maximum of four contiguous blocks instead of a strided search, and
    few-channel convolutions (6 maps) fill the vector registers better.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        wide = _four_offsets(weight)
        values = F.conv2d(images, wide, bias.repeat(4), stride=2, padding=padding)
        n, _, height, width = values.shape
        window = values.view(n, 2, 2, -1)  # [N, row, column, O * h/2 * w/2]
        top = torch.maximum(window[:, 0, 0], window[:, 0, 1])
        bottom = torch.maximum(window[:, 1, 0], window[:, 1, 1])
        pooled = torch.maximum(top, bottom).clamp_min_(0)
        ctx.save_for_backward(images, wide, window, top, bottom, pooled)
        ctx.padding = padding
        return pooled.view(n, len(weight), height, width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        images, wide, window, top, bottom, pooled = ctx.saved_tensors
        n, _, _, size = window.shape
        gradient = _threshold_backward(gradients[0].reshape(n, size), pooled, 0)
        of_top = _threshold_backward(gradient, top - bottom, _JUST_BELOW_ZERO)
        of_window = torch.empty_like(window)
        for row, of_row in enumerate((of_top, gradient - of_top)):
            left_leads = window[:, row, 0] - window[:, row, 1]
            of_window[:, row, 0] = _threshold_backward(of_row, left_leads, _JUST_BELOW_ZERO)
            torch.sub(of_row, of_window[:, row, 0], out=of_window[:, row, 1])
        channels = len(wide)
        of_values = of_window.view(n, channels, *gradients[0].shape[2:])
        _, of_wide, of_bias = _convolution_backward(
            of_values,
            images,
            wide,
            [channels],
            [2, 2],
            [ctx.padding] * 2,
            [1, 1],
            False,
            [0, 0],
            1,
            [False, True, True],
        )
        return None, _four_offsets_backward(of_wide), of_bias.view(4, -1).sum(0), None


class _HiddenLayer(Function):
    """Each part in its fastest memory layout: channels last, but the gradient of the input contiguous."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        images_last = images.contiguous(memory_format=torch.channels_last)
        weight_last = weight.contiguous(memory_format=torch.channels_last)
        values = F.conv2d(images_last, weight_last, bias, padding=padding)
        pooled, indices = F.max_pool2d(values, 2, return_indices=True)
        pooled = pooled.clamp_min_(0)
        ctx.save_for_backward(images, images_last, weight, weight_last, values, pooled, indices)
        ctx.padding = padding
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, images_last, weight, weight_last, values, pooled, indices = ctx.saved_tensors
        gradient = _threshold_backward(gradients[0].contiguous(memory_format=torch.channels_last), pooled, 0)
        of_values = _max_pool_backward(gradient, values, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)

        def convolution_backward(of_values: Tensor, x: Tensor, w: Tensor, wanted: list[bool]) -> Any:
            geometry = ([1, 1], [ctx.padding] * 2, [1, 1], False, [0, 0], 1)
            return _convolution_backward(of_values, x, w, [len(w)], *geometry, wanted)

        _, of_weight, of_bias = convolution_backward(of_values, images_last, weight_last, [False, True, True])
        of_images, _, _ = convolution_backward(of_values.contiguous(), images, weight, [True, False, False])
        return of_images, of_weight, of_bias, None


def _four_offsets(weight: Tensor) -> Tensor:
    """[O, C, K, K] -> [4 * O, C, K + 1, K + 1]: the kernel at offsets (0, 0), (0, 1), (1, 0), (1, 1)."""
    o, c, k, _ = weight.shape
    wide = weight.new_zeros(2, 2, o, c, k + 1, k + 1)
    for row in (0, 1):
        for column in (0, 1):
            wide[row, column, :, :, row : row + k, column : column + k] = weight
    return wide.view(4 * o, c, k + 1, k + 1)


def _four_offsets_backward(of_wide: Tensor) -> Tensor:
    """The adjoint of `_four_offsets`: the sum of the four copies of a weight."""
    channels, c, k, _ = of_wide.shape
    parts = of_wide.view(2, 2, channels // 4, c, k, k)
    return parts[0, 0, ..., :-1, :-1] + parts[0, 1, ..., :-1, 1:] + parts[1, 0, ..., 1:, :-1] + parts[1, 1, ..., 1:, 1:]
