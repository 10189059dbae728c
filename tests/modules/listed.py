"""A catalogue file of modules as they are met elsewhere: image networks of torchvision and timm, a transformer, an
LSTM, and a module with two inputs, one of them boolean, and three outputs in a dictionary.

All weights are random, so that nothing is downloaded.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from study.catalogue import Entry

HERE = Path(__file__)
IMAGE = ("image=float32[batch,3,224,224]",)
TEXT = ("input_ids=int64[batch,sequence]:0..30521", "attention_mask=int64[batch,sequence]:0..1")


def bert() -> nn.Module:
    """BERT-base's layers, four of them; outputs are those of a dataclass."""
    from transformers import BertConfig, BertModel

    made: nn.Module = BertModel(BertConfig(num_hidden_layers=4))
    return made


class LSTMClassifier(nn.Module):
    """Two layers of LSTM over a sequence, and a linear layer on its last state."""

    def __init__(self, features: int = 32, classes: int = 5) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, 64, num_layers=2, batch_first=True)
        self.head = nn.Linear(64, classes)

    def forward(self, series: Tensor) -> Tensor:
        states, _ = self.lstm(series)
        logits: Tensor = self.head(states[:, -1])
        return logits


class Tagger(nn.Module):
    """Tags each of a sequence's words, where a mask says that it is one."""

    def __init__(self, words: int = 1000, width: int = 64, tags: int = 7) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, tags)

    def forward(self, ids: Tensor, is_word: Tensor) -> dict[str, Tensor]:
        states = torch.relu(self.mix(self.embedding(ids)))
        states = states * is_word.unsqueeze(-1)
        logits = self.head(states)
        return {"logits": logits, "tag": logits.argmax(-1), "states": states}


ENTRIES = (
    Entry("resnet18", "torchvision.models:resnet18", inputs=IMAGE),
    Entry("mobilenet_v3_small", "torchvision.models:mobilenet_v3_small", inputs=IMAGE),
    Entry("efficientnet_b0", "torchvision.models:efficientnet_b0", inputs=IMAGE),
    Entry("vit_b_16", "torchvision.models:vit_b_16", inputs=IMAGE),
    Entry("convnext_atto", "timm.models.convnext:convnext_atto", inputs=IMAGE),
    Entry("bert-4", f"{HERE}:bert", inputs=TEXT, sizes=("sequence=64",)),
    Entry("lstm", f"{HERE}:LSTMClassifier", inputs=("series=float32[batch,time,32]",), sizes=("time=50",)),
    Entry(
        "tagger",
        f"{HERE}:Tagger",
        inputs=("ids=int64[batch,sequence]:0..999", "is_word=bool[batch,sequence]"),
        sizes=("sequence=24",),
    ),
)
