"""Networks as people write them: each becomes a portable file, for any number of images, or a reason in one line."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from export.conversion import convert, finished
from study.errors import StudyError
from study.variants import STANDARD, Variant

SHAPE = (1, 28, 28)


class Normalised(nn.Module):
    """Batch normalisation where no convolution takes it in: of the input, after ReLU, of rows, without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rows, self.plain = nn.BatchNorm2d(1), nn.BatchNorm1d(28), nn.BatchNorm2d(4, affine=False)
        self.conv, self.fc, self.last = nn.Conv2d(1, 4, 5, 3), nn.Linear(256, 10), nn.BatchNorm1d(10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.rows(self.first(x).squeeze(1)).unsqueeze(1)
        return self.last(F.relu(self.fc(self.plain(F.relu(self.conv(x))).flatten(1))))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """len(x), a token for the class, attention, and the mean over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(1, 16, 7, 7), nn.Parameter(torch.rand(1, 1, 16))
        self.layer, self.fc = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc(self.layer(torch.cat([self.token.expand(len(x), -1, -1), x], 1)).mean(1))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """Rows as a sequence, in both directions, from zeros that are made for the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 8, batch_first=True, bidirectional=True)
        self.gru, self.fc = nn.GRU(16, 8, batch_first=True), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        zeros = torch.zeros(2, x.size(0), 8)
        return self.fc(self.gru(self.lstm(x.squeeze(1), (zeros, zeros))[0])[0][:, -1])  # type: ignore[no-any-return]


class Computed(nn.Module):
    """Weights and shapes that are computed, means of all kinds, a size to scale to, and float64."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, 5, 2))
        self.gate, self.weight = nn.Linear(4, 4), nn.Parameter(torch.rand(10, 64))
        self.fc = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(100, 64)).double()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(F.interpolate(x, size=(20, 20), mode="bilinear")))
        gate = torch.sigmoid(self.gate(x.mean((2, 3)))).view(len(x), 4, 1, 1)
        x = F.adaptive_avg_pool2d(x * gate.expand_as(x), (5, 5))
        x = (x * x - x.mean((1, 3), keepdim=True)).flatten(1)
        return F.linear(F.normalize(self.fc(x.double()).float()), F.normalize(self.weight))


class Named(nn.Module):
    """Tensors with the names of values in the exporter's graph, of its input and output, and of constants of edits."""

    two: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.image, self.image_largest = nn.Parameter(torch.rand(SHAPE)), nn.Parameter(torch.rand(1))
        self.mul, self.linear, self.add, self.probabilities = (nn.Parameter(torch.rand(10)) for _ in range(4))
        self.register_buffer("two", torch.tensor(3.0))
        self.fc = nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc((x * self.image_largest + self.image).flatten(1)) * self.mul + self.linear
        return x * x * self.two + self.add - self.probabilities


NETWORKS = [Normalised, Transformer, Recurrent, Computed, Named]


@pytest.mark.parametrize("network_type", NETWORKS, ids=lambda kind: kind.__name__)
def test_it_becomes_a_portable_file_that_computes_the_same_for_any_batch(network_type: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = network_type().eval()
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean, layer.running_var = (
                torch.randn(layer.num_features),
                torch.rand(layer.num_features) + 0.1,
            )
            if layer.affine:
                nn.init.normal_(layer.weight)
                nn.init.normal_(layer.bias)
    images = torch.rand(5, *SHAPE)
    with torch.inference_mode():
        expected = torch.softmax(network(images), 1).numpy()
    model = finished(convert(network, SHAPE, {}), network_type.__name__, STANDARD)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        found = session.run(None, {"image": images[:batch].numpy()})[0]
        np.testing.assert_allclose(found, expected[:batch], atol=1e-6)


def test_raw_images_enter_by_names_that_no_weight_has() -> None:
    torch.manual_seed(0)
    network = Named().eval()
    images = torch.randint(256, (5, *SHAPE), dtype=torch.uint8)
    with torch.inference_mode():
        expected = torch.softmax(network(images / 255), 1).numpy()
    model = finished(convert(network, SHAPE, {}), "Named", Variant(input="uint8"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": images.numpy()})[0], expected, atol=1e-6)


CODE = """import torch
from torch import nn
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(784, 10)
    def forward(self, x):
        x = x.flatten(1)
        {line}
        return self.f(x)
"""
REFUSED = {
    "if x.mean() > 0.2: x = x * 0.5": r"data-dependent control flow at mine\.py:9, whose .* such as torch\.where",
    "while x.sum() > 1e9: x = x / 2": r"data-dependent control flow at mine\.py:9,",
    "x = torch.special.bessel_j0(x)": r"ONNX has no operator for prims\.bessel_j0; write it with other operations",
    "return torch.stack([self.f(image) for image in x])": "expected code for any batch size, found some for 2 im",
    "raise KeyError('\\x1b[31ma\\nb')": r"KeyError: .*a.*b.* at mine\.py:9",
    "return torch.cdist(x.view(-1, 28, 28), x.view(-1, 28, 28)).sum(1)[:, :10]": r"rule R6 of .*\(Shape\); write this",
}


def test_what_cannot_be_exported_is_one_line_with_the_reason_and_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two lines of one length and second share their bytecode
    for line, message in REFUSED.items():
        (tmp_path / "mine.py").write_text(CODE.format(line=line))
        sys.modules.pop("mine", None)
        import mine  # type: ignore[import-not-found]

        with pytest.raises(StudyError, match=rf"^M(: | cannot be exported: ).*{message}") as error:
            finished(convert(mine.M().eval(), SHAPE, {}), "M", STANDARD)
        assert str(error.value).isprintable(), line
    assert capfd.readouterr() == ("", ""), "torch prints its graphs"


def test_a_layer_that_an_opset_lacks_is_named() -> None:
    with pytest.raises(StudyError, match=r"cannot be converted to opset 14 \(.*Mish.*\); leave out --opset"):
        convert(nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Mish()).eval(), SHAPE, {}, Variant(opset=14))
