"""A network whose hidden layer is linear, small enough to be computed by hand."""

from __future__ import annotations

from torch import nn

from orchestrator import Network


class Hidden(Network):
    """One convolution, one hidden linear layer; images of 8 x 8 pixels."""

    def __init__(self, *, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.set_stages(
            {
                "stage1": nn.Sequential(nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU(), nn.Flatten()),
                "hidden": nn.Sequential(nn.Linear(64, 16), nn.ReLU()),
                "classifier": nn.Linear(16, classes),
            }
        )
