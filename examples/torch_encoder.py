"""A model of PyTorch's, as it is: an encoder layer behind a convolution. It needs the extra [torch].

minisim run examples/torch_encoder.py --check torch
minisim run examples/torch_encoder.py --dim batch=8 --dim size=64
"""

import torch
from torch import nn


class Encoder(nn.Module):
    """Patches of an image to 10 classes."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, stride=8)
        self.layer = nn.TransformerEncoderLayer(width, heads, 4 * width, activation="gelu", batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(image).flatten(2).transpose(1, 2)
        return self.head(self.layer(tokens).mean(1))


def model(batch: int = 1, size: int = 32) -> tuple[nn.Module, torch.Tensor]:
    """The module, and an input of the size to be timed; its parameters are what --dim sets."""
    torch.manual_seed(0)
    return Encoder(), torch.randn(batch, 3, size, size)
