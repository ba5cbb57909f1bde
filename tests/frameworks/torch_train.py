# SPDX-License-Identifier: Apache-2.0
"""Trains one small model for some steps and prints each step's loss with all its digits.

    torch_train.py mlp|cnn|transformer cpu|cuda [STEPS]

Weights and data are made on the CPU, so that they are the same wherever it trains.
"""
import sys
import time

import torch
from torch import nn

torch.backends.cudnn.enabled = False  # its kernels have no PTX
torch.set_num_threads(1)


class Transformer(nn.Module):
    """A block of attention and feed-forward between an embedding and a classifier, without dropout."""

    def __init__(self, words=50, width=32, heads=4):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.block = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, activation="gelu")
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words)

    def forward(self, x):
        return self.head(self.norm(self.block(self.embedding(x))))


def mlp():
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 5))
    x, y = torch.randn(48, 20), torch.randint(0, 5, (48,))
    return net, x, y, nn.CrossEntropyLoss(), lambda p: torch.optim.Adam(p, lr=1e-2)


def cnn():
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))
    x, y = torch.randn(8, 1, 16, 16), torch.randint(0, 10, (8,))
    return net, x, y, nn.CrossEntropyLoss(), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)


def transformer():
    net = Transformer()
    x = torch.randint(0, 50, (4, 12))
    y = torch.roll(x, -1, 1)
    flat = nn.CrossEntropyLoss()
    return net, x, y, lambda out, y: flat(out.reshape(-1, out.shape[-1]), y.reshape(-1)), \
        lambda p: torch.optim.AdamW(p, lr=3e-3)


def main():
    model, device, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 20
    torch.manual_seed(1234)
    net, x, y, loss_of, optimiser = {"mlp": mlp, "cnn": cnn, "transformer": transformer}[model]()
    net, x, y = net.to(device), x.to(device), y.to(device)
    opt = optimiser(net.parameters())
    for step in range(steps):
        start = time.monotonic()
        opt.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        opt.step()
        value = loss.item()
        print(f"step {step} loss {value.hex()} {value:.6f}", flush=True)
        print(f"# {time.monotonic() - start:.2f} s", file=sys.stderr, flush=True)


main()
