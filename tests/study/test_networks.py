"""The networks of the catalogue are those that were published: sizes, work, connections, and what is exported."""

from itertools import combinations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from export.conversion import convert
from export.portable.rules import violations
from study.catalogue import ENTRIES
from study.data.fashion_mnist import CLASSES
from study.networks import parameters
from study.networks.cnn5 import CNN5, CNN5Drawn
from study.networks.convnet_7x7 import ConvNet7x7
from study.networks.lenet5 import LeNet5, LeNet5GAP
from study.networks.lenet5_1998 import LeNet5Of1998, PartialConvolution, RadialBasis, SubSampling, scaled_tanh
from study.networks.lenet5_colour import LeNet5Colour, LeNet5GAPColour
from study.networks.lenet5_variants import LeNet5BatchNorm, LeNet5Dropout, LeNet5Plain
from study.networks.mini_vgg import MiniVGG
from study.networks.tuned import Tuned

# Trainable parameters; multiply-accumulates of one image in millions, of convolutions and matrix products.
EXPECTED: dict[type[nn.Module], tuple[int, str]] = {
    LeNet5: (61_706, "0.417"),
    LeNet5GAP: (14_398, "0.652"),
    ConvNet7x7: (1_413_834, "89.5"),
    CNN5: (62_850, "0.418"),
    CNN5Drawn: (61_750, "0.417"),
    MiniVGG: (2_167_786, "26.0"),
    LeNet5Plain: (61_706, "0.417"),
    LeNet5Dropout: (61_706, "0.417"),
    LeNet5BatchNorm: (61_990, "0.417"),
    LeNet5Of1998: (60_000, "0.327"),
    Tuned: (421_642, "4.24"),
    LeNet5Colour: (62_006, "0.652"),
    LeNet5GAPColour: (14_698, "0.887"),
}
EXPORTED: dict[str, tuple[nn.Module, onnx.ModelProto]] = {}
of_every_network = pytest.mark.parametrize("network_type", EXPECTED, ids=lambda network_type: network_type.__name__)


def shape(network_type: type[nn.Module]) -> tuple[int, int, int]:
    return (3, 32, 32) if network_type in (LeNet5Colour, LeNet5GAPColour) else (1, 28, 28)


def randomised(network_type: type[nn.Module]) -> nn.Module:
    """In evaluation mode; nothing is left at a special value: no bias of 0, no batch statistics of 0 and 1."""
    torch.manual_seed(0)
    network = network_type()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = torch.randn(module.num_features) / 4
                module.running_var = torch.rand(module.num_features) + 0.5
    return network.eval()


def exported(network_type: type[nn.Module]) -> tuple[nn.Module, onnx.ModelProto]:
    """A network and its ONNX file, made once."""
    if network_type.__name__ not in EXPORTED:
        network = randomised(network_type)
        EXPORTED[network_type.__name__] = network, convert(network, shape(network_type), {})
    return EXPORTED[network_type.__name__]


# ---- every network


def test_parameters_and_work_are_those_published() -> None:
    for network_type, (size, published) in EXPECTED.items():
        network = network_type().eval()
        assert parameters(network) == size
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.rand(1, *shape(network_type)))
        work = counter.get_total_flops() / 2
        if network_type is LeNet5Of1998:  # C3 is computed densely, with zeros for the 36 kernels that the paper omits
            work -= 36 * 5 * 5 * 10 * 10
        assert f"{work / 1e6:.{len(published.partition('.')[2])}f}" == published, network_type


@of_every_network
def test_its_ten_logits_depend_on_each_image_alone_and_training_on_every_parameter(
    network_type: type[nn.Module],
) -> None:
    network = randomised(network_type)
    images = torch.rand(8, *shape(network_type))
    with torch.no_grad():
        logits = network(images)
        assert (logits.dtype, logits.shape) == (torch.float32, (8, 10))
        assert logits.isfinite().all()
        assert float((logits[0] - logits[1]).abs().max()) > 1e-3
        torch.testing.assert_close(network(images[1:2]), logits[1:2])
    network = network_type()
    F.cross_entropy(network(images), torch.arange(8)).backward()  # type: ignore[no-untyped-call]
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert [name for name, p in network.named_parameters() if p.grad is not None and not p.grad.any()] == []


@of_every_network
def test_its_onnx_file_computes_the_same_with_portable_operators_of_inference(network_type: type[nn.Module]) -> None:
    network, model = exported(network_type)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 7):
        images = torch.rand(batch, *shape(network_type))
        with torch.no_grad():
            expected = network(images).softmax(1).numpy()
        (probabilities,) = session.run(["probabilities"], {"image": images.numpy()})
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
    assert violations(model.SerializeToString()) == []
    assert {node.op_type for node in model.graph.node} <= {
        *("Pad", "Sub", "Div", "Mul", "Add", "Pow", "Conv", "Gemm", "Relu", "Elu", "Tanh", "Softmax"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "ReduceSum", "Flatten"),
    }, "no BatchNormalization, Dropout or Identity"


def test_the_distances_of_1998_are_in_the_file_to_a_relative_1e_5() -> None:
    """Up to what all classes have in common, they are the logarithms of the probabilities."""
    network, model = exported(LeNet5Of1998)
    images = torch.rand(200, 1, 28, 28)
    with torch.no_grad():
        scores = network(images).double().numpy()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = np.log(session.run(None, {"image": images.numpy()})[0].astype(np.float64))
    assert np.isfinite(found).all()
    difference = (found - found.mean(1, keepdims=True)) - (scores - scores.mean(1, keepdims=True))
    assert np.abs(difference).max() <= 1e-5 * np.abs(scores).max()


def test_every_network_of_the_catalogue_is_here() -> None:
    here = {f"{network_type.__module__}:{network_type.__name__}" for network_type in EXPECTED}
    assert here == {entry.network for entry in ENTRIES}


# ---- families


def test_dropout_is_at_the_published_rates_and_a_recipe_can_set_them() -> None:
    half = [0.5, 0.5]
    rates = {ConvNet7x7: half, CNN5: half, MiniVGG: [], LeNet5Dropout: half, Tuned: [0.25, 0.25]}
    for network_type, expected in rates.items():
        network = network_type()
        modules = [m for m in network.modules() if isinstance(m, nn.Dropout)]
        assert [m.p for m in modules] == expected
        images = torch.rand(2, 1, 28, 28)
        assert torch.equal(network(images), network(images)) == (not expected)
        for module in modules:
            module.p = 0.0
        assert torch.equal(network(images), network(images)), "nothing else is random"


def test_the_fused_step_gives_the_gradients_of_the_plain_operators() -> None:
    for network_type in (LeNet5Plain, LeNet5Dropout, LeNet5Colour, LeNet5GAPColour):
        torch.manual_seed(0)
        network = network_type()
        images, labels = torch.rand(4, *shape(network_type)), torch.tensor([3, 1, 4, 1])
        gradients = []
        for training in (False, True):
            for module in network.train(training).modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            loss = F.cross_entropy(network(images), labels)
            gradients.append(torch.autograd.grad(loss, list(network.parameters())))
        for fused, plain in zip(gradients[1], gradients[0], strict=True):
            torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-6)


def test_c5_as_a_convolution_is_the_fully_connected_layer_of_the_baseline() -> None:
    plain, baseline = randomised(LeNet5Plain), LeNet5().eval()
    tensors = zip(baseline.state_dict().values(), plain.state_dict().values(), strict=True)
    baseline.load_state_dict(
        {name: theirs.view_as(own) for name, (own, theirs) in zip(baseline.state_dict(), tensors, strict=True)}
    )
    images = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(plain(images), baseline(images))


def test_he_normal_weights_have_variance_two_over_fan_in() -> None:
    torch.manual_seed(0)
    for network_type in (ConvNet7x7, MiniVGG):
        weights = [m.weight for m in network_type().modules() if isinstance(m, nn.Conv2d)]
        for weight in weights:
            assert float(weight.detach().std()) == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.1)


def test_colour_images_are_normalised_channel_by_channel_and_checkpoints_do_not_hold_the_constants() -> None:
    network = LeNet5Colour()
    means = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
    deviations = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)
    torch.testing.assert_close(network.normalise(means + 2 * deviations), torch.full((1, 3, 1, 1), 2.0))
    assert not [name for name in network.state_dict() if "normalise" in name]


# ---- the network of 1998

TABLE = {  # of the paper: trainable, connections
    "c1": (156, 122_304),
    "s2": (12, 5_880),
    "c3": (1_516, 151_600),
    "s4": (32, 2_000),
    "c5": (48_120, 48_120),
    "f6": (10_164, 10_164),
    "output": (0, 840),
}
# The paper's table I: a row for each map of S2, a column for each of C3.
SEEN = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""


def seen() -> Tensor:
    """bool [16, 6]: does this map of C3 see that of S2?"""
    return torch.tensor([[mark == "X" for mark in row] for row in SEEN.split()]).T


def count(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Trainable parameters and connections of each layer: all the inputs, a bias among them, of all its units."""
    units: dict[str, torch.Size] = {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda module, inputs, output, name=name: units.update({name: output.shape[1:]}))
    network(torch.rand(1, 1, 28, 28))
    found = {}
    for name, layer in network.named_children():
        positions = units[name][1:].numel()  # 1 of a layer without maps
        if isinstance(layer, SubSampling):
            connections = units[name].numel() * (2 * 2 + 1)
        elif isinstance(layer, RadialBasis):
            connections = layer.codes.numel()
        else:
            connections = parameters(layer) * positions
        found[name] = parameters(layer), connections
    return found


def test_the_layers_of_1998_have_the_papers_parameters_and_connections() -> None:
    network = LeNet5Of1998()
    layers = count(network)
    assert layers == TABLE
    assert [sum(column) for column in zip(*layers.values(), strict=True)] == [60_000, 340_908]
    assert network.state_dict()["output.codes"].numel() == 840
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == 60_000 + 840


def test_c3_is_the_dense_convolution_with_zeros_where_nothing_is_connected() -> None:
    torch.manual_seed(0)
    c3 = PartialConvolution()
    dense = torch.zeros(16, 6, 5, 5)
    dense[seen()] = c3.weight.detach()  # row by row: by map of C3, then by map of S2
    maps = torch.rand(2, 6, 14, 14)
    torch.testing.assert_close(c3(maps), F.conv2d(maps, dense, c3.bias))


def test_a_map_of_c3_depends_on_the_maps_it_sees_alone() -> None:
    torch.manual_seed(0)
    c3 = PartialConvolution()
    maps = torch.rand(1, 6, 14, 14, requires_grad=True)
    reached = [torch.autograd.grad(c3(maps)[:, k].sum(), maps)[0].abs().sum((0, 2, 3)) > 0 for k in range(16)]
    assert torch.equal(torch.stack(reached), seen())
    assert seen().sum(0).tolist() == [10] * 6


def test_sub_sampling_is_the_papers_sum_with_a_quarter_of_the_coefficient() -> None:
    torch.manual_seed(0)
    s2 = SubSampling(6)
    maps = torch.rand(2, 6, 28, 28)
    sums = maps.view(2, 6, 14, 2, 14, 2).sum((3, 5))
    torch.testing.assert_close(s2(maps), sums * s2.coefficient / 4 + s2.bias)


def test_the_output_is_minus_the_squared_distance_to_each_code() -> None:
    network = RadialBasis().double()
    x = torch.randn(5, 84, dtype=torch.float64)
    expected = [
        [-sum((a - b) ** 2 for a, b in zip(row, code, strict=True)) for code in network.codes.tolist()]
        for row in x.tolist()
    ]
    torch.testing.assert_close(network(x), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_the_codes_are_ten_drawings_that_differ_in_16_pixels_or_more() -> None:
    codes = LeNet5Of1998().output.codes
    assert codes.shape == (len(CLASSES), 7 * 12)
    assert set(codes.flatten().tolist()) == {-1.0, 1.0}
    assert min(int((a != b).sum()) for a, b in combinations(codes, 2)) >= 16
    trousers = codes[CLASSES.index("Trouser")].view(12, 7) > 0
    assert (bool(trousers[0].all()), bool(trousers[-1, 3])) == (True, False), "a waistband and two legs"


def test_the_scaled_tanh_is_one_at_one() -> None:
    found = scaled_tanh(torch.tensor([-1.0, 0.0, 1.0, 100.0]))
    torch.testing.assert_close(found, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), rtol=0, atol=1e-4)


def test_c1_sees_the_background_around_the_image_too() -> None:
    network = LeNet5Of1998()
    received: list[Tensor] = []
    network.c1.register_forward_hook(lambda module, inputs, output: received.append(inputs[0]))
    network(torch.ones(1, 1, 28, 28))
    expected = torch.full((1, 1, 32, 32), -0.1)
    expected[..., 2:-2, 2:-2] = 1.175
    torch.testing.assert_close(received[0], expected)


def test_the_weights_of_1998_start_within_the_papers_range() -> None:
    """Uniform in +-2.4 / fan-in: half the range is its mean magnitude, and none is outside."""
    torch.manual_seed(0)
    network = LeNet5Of1998()
    of_c3 = [kernel for map_ in network.c3.weight.detach().split(seen().sum(1).tolist()) for kernel in map_]  # type: ignore[no-untyped-call]
    fan_ins = [25 * int(inputs) for inputs in seen().sum(1) for _ in range(int(inputs))]
    scaled = torch.cat([kernel.flatten() * fan_in for kernel, fan_in in zip(of_c3, fan_ins, strict=True)])
    drawn = [(network.c1.weight, 25), (scaled, 1), (network.c5.weight, 400), (network.f6.weight, 120)]
    for weight, fan_in in drawn:
        magnitudes = weight.detach().abs() * fan_in
        assert float(magnitudes.max()) <= 2.4 * (1 + 1e-6)
        assert float(magnitudes.mean()) == pytest.approx(1.2, rel=0.15)
    for layer in (network.s2, network.s4):
        assert 0.6 < float(layer.coefficient.detach().abs().max()) <= 2.4, "four times 2.4 / 4"
        assert float(layer.bias.detach().abs().max()) <= 0.6


def test_the_onnx_file_of_1998_has_one_dense_convolution_for_c3_and_no_square_by_multiplication() -> None:
    graph = exported(LeNet5Of1998)[1].graph
    weights = {i.name: tuple(i.dims) for i in graph.initializer}
    convolutions = [weights.get(node.input[1]) for node in graph.node if node.op_type == "Conv"]
    assert convolutions == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 16, 5, 5)]
    assert not [node for node in graph.node if node.op_type == "Mul" and node.input[0] == node.input[1]]
    assert [weights[node.input[1]] for node in graph.node if node.op_type == "Gemm"] == [(84, 120), (10, 84)]
