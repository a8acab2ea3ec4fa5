"""Columns of lithium, found by a small U-Net of PyTorch that was shown generated frames.

python examples/learning/train_columns_torch.py [folder] [samples] [epochs]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from train_columns_scores import frame_and_target, frames, printed, table

from echolith.validation.generation import Split


class UNet(nn.Module):
    """Two levels, each with two convolutions down and two up."""

    def __init__(self, width=12):
        super().__init__()
        self.fine, self.coarse = convolutions(2, width), convolutions(width, 2 * width)
        self.deep = convolutions(2 * width, 4 * width)
        self.up = convolutions(6 * width, 2 * width)
        self.last = nn.Sequential(convolutions(3 * width, width), nn.Conv2d(width, 1, 1))

    def forward(self, counts):
        mean = counts.mean((-2, -1), keepdim=True)
        noise = torch.log(mean).expand_as(counts) - 5
        fine = self.fine(torch.stack([4 * (counts / mean - 1), noise], dim=1))
        coarse = self.coarse(halved(fine))
        deep = self.up(torch.cat([coarse, doubled(self.deep(halved(coarse)))], dim=1))
        return self.last(torch.cat([fine, doubled(deep)], dim=1))[:, 0]


def convolutions(given, made):
    one, other = (nn.Conv2d(n, made, 3, padding=1) for n in (given, made))
    return nn.Sequential(one, nn.BatchNorm2d(made), nn.ReLU(), other, nn.ReLU())


def halved(picture):
    return nn.functional.max_pool2d(picture, 2)


def doubled(picture):
    return nn.functional.interpolate(picture, scale_factor=2.0, mode="bilinear")


def train(samples, epochs):
    torch.manual_seed(0)
    network, sampler = UNet(), samples.sampler(seed=0)
    data = samples.transformed(frame_and_target)
    loader = DataLoader(data, batch_size=4, sampler=sampler, num_workers=1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, epochs * len(loader))
    for _ in range(epochs):
        for pair in loader:
            turns = np.random.default_rng(schedule.last_epoch).integers(4)
            counts, target = (torch.rot90(one, int(turns), (1, 2)) for one in pair)
            optimiser.zero_grad()
            nn.functional.mse_loss(network(counts), target).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def main(folder=None, n=300, epochs=20):
    with tempfile.TemporaryDirectory() as temporary, torch.no_grad():
        made, split = frames(Path(folder or temporary), int(n), seed=0)
        with torch.enable_grad():
            network = train(split[Split.TRAIN], int(epochs))
        printed(table(lambda counts: network(torch.tensor(counts)[None])[0].numpy(), made, split))


if __name__ == "__main__":
    main(*sys.argv[1:])
