"""Counts of parameters in circulation that are not those of the networks they are given for, and how they came about.

Each is derived here from the layers that its authors counted, beside the true count of the same layers.
"""

from collections.abc import Iterator, Mapping

LENET5 = "study.networks.lenet5_variants:LeNet5Plain"
MINI_VGG = "study.networks.mini_vgg:MiniVGG"


def conv(maps: int, kernels: int, size: int) -> int:
    """Weights of a convolution from `maps` to `kernels` maps, with a bias for each kernel."""
    return kernels * (maps * size**2 + 1)


def full(inputs: int, units: int) -> int:
    """Weights of a fully-connected layer, with a bias for each unit."""
    return inputs * units + units


def sentences(parameters: Mapping[str, int]) -> Iterator[str]:
    """A line for each count in circulation; `parameters` are those of networks that were trained, by import path."""
    c1, c3, fc1, fc2, output = conv(1, 6, 5), conv(6, 16, 5), full(400, 120), full(120, 84), full(84, 10)
    lenet5 = f"the network has {c1:,} + {c3:,} + {fc1:,} + {fc2:,} + {output:,} = {c1 + c3 + fc1 + fc2 + output:,}"
    lenet5 += _trained(parameters, LENET5)

    terms = (c1, conv(1, 16, 5), 400 * 120 + 1, 120 * 84 + 1)
    added = " + ".join(f"{term:,}" for term in terms)
    yield (
        f"{sum(terms):,} for LeNet-5 is {added}: C3 with one input map instead of six, one bias for a whole "
        f"fully-connected layer instead of one a unit, and no output layer; {lenet5}."
    )
    total = c1 + c3 + fc1 + fc2
    yield (
        f"{mistaken(total):,} for LeNet-5 is {c1:,} + {c3:,} + {fc1:,} + {fc2:,} = {total:,} with two digits "
        f"exchanged, and has no output layer; {lenet5}."
    )
    flat = 64 * 8 * 8
    vgg = (conv(1, 32, 3), conv(32, 32, 3), conv(32, 64, 3), conv(64, 64, 3), full(flat, 512), full(512, 10))
    yield (
        f'"{512 * flat:,} in total" for the mini-VGG is 512 {chr(0xD7)} 64 {chr(0xD7)} 8 {chr(0xD7)} 8, the weights of '
        f"one layer without its biases; the network has {' + '.join(f'{n:,}' for n in vgg)} = {sum(vgg):,}"
        f"{_trained(parameters, MINI_VGG)}."
    )


def mistaken(total: int) -> int:
    """`total` with its last two digits exchanged."""
    tens, ones = total // 10 % 10, total % 10
    return total - total % 100 + 10 * ones + tens


def _trained(parameters: Mapping[str, int], network: str) -> str:
    """What run.json says of it, where there is a run."""
    return f" ({parameters[network]:,} in run.json)" if network in parameters else ""
