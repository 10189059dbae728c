"""The fused training step is max_pool2d(relu(conv2d(x))), value and gradient, by comparison with autograd's own."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from study.networks.fused import conv_relu_pool
from study.networks.lenet5 import LeNet5, LeNet5GAP

SHAPES = {
    "first layer": ((4, 1, 28, 28), (6, 1, 5, 5), 2),
    "second layer": ((4, 6, 14, 14), (16, 6, 5, 5), 0),
    "colour images": ((3, 3, 32, 32), (8, 3, 3, 3), 1),
    "odd height and width": ((2, 2, 13, 11), (5, 2, 3, 3), 0),
}


def results(function: object, images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> list[Tensor]:
    """The output and its gradients by all differentiable inputs, for a fixed direction of the output."""
    inputs = [t.clone().requires_grad_(t.requires_grad) for t in (images, weight, bias)]
    output = function(*inputs, padding)  # type: ignore[operator]
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    wanted = [t for t in inputs if t.requires_grad]
    return [output, *torch.autograd.grad(output, wanted, direction)]


def plain(images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    return F.max_pool2d(F.relu(F.conv2d(images, weight, bias, padding=padding)), 2)


def test_value_and_gradient_are_those_of_the_plain_operators() -> None:
    for image_shape, weight_shape, padding in SHAPES.values():
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(image_shape, generator=generator)
        weight = (torch.randn(weight_shape, generator=generator) * 0.2).requires_grad_()
        bias = (torch.randn(weight_shape[0], generator=generator) * 0.2).requires_grad_()
        flat = noise.clamp_min(1.0)  # as the background of real images: all four values of a window are the same
        for images, is_input in ((noise, True), (noise, False), (flat, True), (flat, False)):
            images = images.clone().requires_grad_(not is_input)
            fused = results(conv_relu_pool, images, weight, bias, padding)
            expected = results(plain, images, weight, bias, padding)
            assert len(fused) == len(expected) == (3 if is_input else 4)
            for ours, theirs in zip(fused, expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_network_computes_the_same_in_training_and_in_evaluation() -> None:
    for network in (LeNet5, LeNet5GAP):
        torch.manual_seed(0)
        built = network()
        images = torch.rand(5, 1, 28, 28)
        in_training = built.train()(images)
        assert in_training.grad_fn is not None
        torch.testing.assert_close(built.eval()(images), in_training, rtol=1e-5, atol=1e-6)
