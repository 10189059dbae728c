"""PyTorch with the weights of its linear layers in compressed rows, whose products skip the zeros."""

import warnings

import torch
from torch import Tensor, nn

from bench.models import Model
from bench.runtimes import Setting
from bench.runtimes.pytorch import Torch
from study.errors import StudyError
from study.records.bench import Settings


class SparseLinear(nn.Module):
    """An nn.Linear whose weight is a CSR tensor: the columns and values that are not zero, row by row."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls the layout a prototype
            self.weight = linear.weight.detach().to_sparse_csr()
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.column = None if self.bias is None else self.bias[:, None]

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) == 1:  # a product with a vector takes half the time of one with a matrix of one column
            row = torch.mv(self.weight, rows[0])
            return (row if self.bias is None else row + self.bias).reshape(*x.shape[:-1], -1)
        columns = rows.t()
        product = self.weight @ columns if self.column is None else torch.addmm(self.column, self.weight, columns)
        return product.t().reshape(*x.shape[:-1], -1)


class TorchSparse(Torch):
    """The network in eager PyTorch, with all of its nn.Linear as `SparseLinear`; nothing else is changed."""

    def __init__(self, model: Model, setting: Setting) -> None:
        if setting.device != "cpu":
            raise StudyError("torch-sparse runs on the CPU alone; measure with --device cpu")
        super().__init__(model, setting)
        self.layers = use_sparse_layers(self.network)
        if not self.layers:
            raise StudyError(f"{model.name} has no nn.Linear of float32 whose weight could be stored sparsely")

    def settings(self) -> Settings:
        return {**super().settings(), "sparse_layers": self.layers}


def use_sparse_layers(network: nn.Module) -> int:
    """Replace each nn.Linear in a network by a sparse one, in place; gives their number.

    A class derived from nn.Linear, or one with parametrisations or hooks, may compute something else and stays.
    """
    made: dict[int, SparseLinear] = {}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            hooked = child._forward_hooks or child._forward_pre_hooks
            if type(child) is nn.Linear and child.weight.dtype == torch.float32 and not hooked:
                made.setdefault(id(child), SparseLinear(child))
                setattr(parent, name, made[id(child)])
    return len(made)
