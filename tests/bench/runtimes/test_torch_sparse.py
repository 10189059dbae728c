"""Linear layers with their weights in compressed rows compute the same as dense ones."""

import pytest
import torch
from torch import nn

from bench.runtimes.pytorch_sparse import SparseLinear, use_sparse_layers


@pytest.mark.parametrize("shape", [(1, 6), (5, 6), (2, 3, 6), (1, 1, 6), (6,)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_sparse_layer_computes_what_the_dense_one_does(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    dense = nn.Linear(6, 4, bias=bias)
    with torch.no_grad():
        dense.weight[torch.rand(4, 6) < 0.5] = 0
    x = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(SparseLinear(dense)(x), dense(x), rtol=1e-6, atol=1e-6)


def test_every_plain_linear_layer_is_replaced_and_a_shared_one_stays_shared() -> None:
    class Own(nn.Linear):
        pass

    shared = nn.Linear(3, 3)
    network = nn.Sequential(shared, nn.ReLU(), nn.Sequential(shared, Own(3, 3)), nn.Conv2d(1, 1, 1))
    assert use_sparse_layers(network) == 1
    inner = network[2]
    assert isinstance(inner, nn.Sequential)
    assert network[0] is inner[0]
    assert type(inner[1]) is Own
