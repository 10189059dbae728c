"""LeNet-5 as it was published in 1998, faithfully; only the ten drawings it compares with are of clothes.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998,
section II.B; its layers' names are used here. Each unit of the output measures how far the 84 values of F6 are from
a drawing of 7x12 pixels, fixed by hand. The paper draws printed characters, here it is the classes of Fashion-MNIST.
"""

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

CONNECTIONS = (
    *("012", "123", "234", "345", "045", "015"),
    *("0123", "1234", "2345", "0345", "0145", "0125"),
    *("0134", "1245", "0235", "012345"),
)
"""Which maps of S2 each of the 16 maps of C3 sees (the paper's table I); each map of S2 is seen by ten."""

# T-shirt/top, Trouser, Pullover, Dress, Coat; Sandal, Shirt, Sneaker, Bag, Ankle boot
DRAWINGS = """
.......  #######  .##.##.  .#...#.  ..#.#..
##...##  #######  .#####.  .#...#.  .##.##.
#######  #######  #######  .##.##.  ###.###
#######  ###.###  #######  .#####.  ###.###
#######  ##...##  #######  ..###..  ###.###
.#####.  ##...##  #.###.#  ...#...  ###.###
.#####.  ##...##  #.###.#  ..###..  ###.###
.#####.  ##...##  #.###.#  ..###..  ###.###
.#####.  ##...##  #.###.#  .#####.  .##.##.
.#####.  ##...##  #######  .#####.  .##.##.
.#####.  ##...##  ..###..  #######  .##.##.
.......  ##...##  .......  #######  .##.##.

.......  .#.#.#.  .......  .......  ...####
.......  .##.##.  .......  ..###..  ...####
.......  ##.#.##  .......  .#...#.  ...####
.......  #.#.#.#  .......  #.....#  ...####
.....##  #.....#  .......  #.....#  ...####
....#.#  #.#.#.#  ....#.#  #######  ...####
..##..#  ..#.#..  ....###  #######  ...####
.#.#..#  ..#.#..  ..#####  #######  .######
#...#.#  ..#.#..  #######  #######  #######
#...###  ..#.#..  #######  #######  #######
#######  ..#.#..  #######  #######  #######
.......  ..###..  .......  .......  ##..###
"""


def _codes() -> Tensor:
    """float32 [10, 84] of +1 (ink) and -1, the drawings row by row, in the order of Fashion-MNIST's classes."""
    halves = [[line.split() for line in half.splitlines()] for half in DRAWINGS.strip().split("\n\n")]
    drawings = ["".join(rows) for half in halves for rows in zip(*half, strict=True)]
    return torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in drawing] for drawing in drawings])


def _initialise(fan_in: int, *tensors: Tensor) -> None:
    """Uniform in +-2.4 / fan-in (the paper's appendix A), fan-in being the inputs of one unit without its bias."""
    for tensor in tensors:
        nn.init.uniform_(tensor, -2.4 / fan_in, 2.4 / fan_in)


def scaled_tanh(x: Tensor) -> Tensor:
    """1.7159 * tanh(2/3 * x), which is 1 at 1, -1 at -1, and most curved there (the paper's appendix A)."""
    return 1.7159 * torch.tanh(x * (2 / 3))


class SubSampling(nn.Module):
    """Per map, the mean of each 2x2 block times a coefficient, plus a bias: S2 and S4.

    The paper has the sum of the block. On the mean the same coefficient is four times as large, and so is the range
    that it is drawn from: four times +-2.4 / 4.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(maps, 1, 1))
        self.bias = nn.Parameter(torch.empty(maps, 1, 1))
        _initialise(4, self.coefficient, self.bias)
        with torch.no_grad():
            self.coefficient.mul_(4)

    def forward(self, maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, 2) * self.coefficient + self.bias


class PartialConvolution(nn.Module):
    """C3: 5x5 convolution of six maps into sixteen, each of which sees only the maps in `CONNECTIONS`.

    Only the 60 live kernels are parameters. Each step puts them among zeros; the exporter does so for good, and writes
    one plain convolution (with `new_zeros` for the buffer of zeros it would not).
    """

    zeros: Tensor
    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        live = [6 * map_ + int(source) for map_, sources in enumerate(CONNECTIONS) for source in sources]
        self.register_buffer("zeros", torch.zeros(6 * len(CONNECTIONS), 5, 5), persistent=False)
        self.register_buffer("places", torch.tensor(live), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(live), 5, 5))
        self.bias = nn.Parameter(torch.empty(len(CONNECTIONS)))
        kernels = torch.split_with_sizes(self.weight.detach(), [len(sources) for sources in CONNECTIONS])
        for kernel, bias in zip(kernels, self.bias.detach(), strict=True):
            _initialise(kernel.numel(), kernel, bias)

    def forward(self, maps: Tensor) -> Tensor:
        dense = self.zeros.index_copy(0, self.places, self.weight)
        return F.conv2d(maps, dense.view(-1, 6, 5, 5), self.bias)


class RadialBasis(nn.Module):
    """Minus the squared distance to each code c, as 2 x.c - sum c^2 - sum x^2: one matrix product, never `cdist`.

    It is x that is doubled, so that the codes are in the ONNX file as they are, by their name. The squares are `pow`
    because x * x would come out as a node that has the same input twice.
    """

    codes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", _codes())

    def forward(self, x: Tensor) -> Tensor:
        scores = F.linear(2 * x, self.codes, -self.codes.pow(2).sum(1))
        return scores - x.pow(2).sum(1, keepdim=True)


class LeNet5Of1998(nn.Module):
    """Sub-sampling with weights, partial C3, scaled tanh, radial basis units; 60,000 parameters, 0.327 M MAC.

    The codes are 840 more numbers, which are not trained. MAC counts the 60 live kernels of C3 alone (0.417 M are
    computed) and no sub-sampling. Pixels become -0.1 (background) to 1.175 and the image 32x32, as in the paper. The
    logits are minus the squared distances: the largest is the class, but as a criterion the paper has its own.

    Decided here, the paper being silent: biases are drawn like the weights of their unit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = SubSampling(6)
        self.c3 = PartialConvolution()
        self.s4 = SubSampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = RadialBasis()
        for layer in (self.c1, self.c5, self.f6):
            assert layer.bias is not None
            _initialise(layer.weight[0].numel(), layer.weight, layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = F.pad(images, (2, 2, 2, 2)) * 1.275 - 0.1  # 0 is the background, so the border becomes -0.1 too
        x = scaled_tanh(self.s2(scaled_tanh(self.c1(x))))
        x = scaled_tanh(self.s4(scaled_tanh(self.c3(x))))
        x = scaled_tanh(self.c5(x)).flatten(1)
        x = scaled_tanh(self.f6(x))
        return self.output(x)  # type: ignore[no-any-return]  # modules are untyped callables
