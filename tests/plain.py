"""The released code's networks, CycleGAN's and pix2pix's in plain PyTorch, with their key names."""

from collections import OrderedDict

import torch
from torch import nn


class Kind:
    """The layers that the networks are made of.

    Args:
        dims: 2 or 3.
        norm: "instance" (with running statistics, as that code saves them), "batch" or "none".
        dropout: whether blocks have it.
    """

    def __init__(self, dims=2, norm="instance", dropout=False):
        self.conv = (nn.Conv2d, nn.Conv3d)[dims - 2]
        self.transposed = (nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 2]
        self.pad = (nn.ReflectionPad2d, nn.ReflectionPad3d)[dims - 2]
        self.instance = (nn.InstanceNorm2d, nn.InstanceNorm3d)[dims - 2]
        self.batch = (nn.BatchNorm2d, nn.BatchNorm3d)[dims - 2]
        self.name, self.bias, self.dropout = norm, norm == "instance", dropout

    def norm(self, channels):
        if self.name == "instance":
            return self.instance(channels, track_running_stats=True)
        return self.batch(channels) if self.name == "batch" else nn.Identity()

    def encoder(self, channels, width):
        return [
            self.pad(3),
            self.conv(channels, width, 7, bias=self.bias),
            self.norm(width),
            nn.ReLU(),
            self.conv(width, 2 * width, 3, stride=2, padding=1, bias=self.bias),
            self.norm(2 * width),
            nn.ReLU(),
            self.conv(2 * width, 4 * width, 3, stride=2, padding=1, bias=self.bias),
            self.norm(4 * width),
            nn.ReLU(),
        ]

    def function(self, channels):
        return nn.Sequential(
            self.pad(1),
            self.conv(channels, channels, 3, bias=self.bias),
            self.norm(channels),
            nn.ReLU(),
            *([nn.Dropout(0.5)] if self.dropout else []),
            self.pad(1),
            self.conv(channels, channels, 3, bias=self.bias),
            self.norm(channels),
        )

    def decoder(self, width, channels):
        doubling = {"stride": 2, "padding": 1, "output_padding": 1, "bias": self.bias}
        return [
            self.transposed(4 * width, 2 * width, 3, **doubling),
            self.norm(2 * width),
            nn.ReLU(),
            self.transposed(2 * width, width, 3, **doubling),
            self.norm(width),
            nn.ReLU(),
            self.pad(3),
            self.conv(width, channels, 7),
            nn.Tanh(),
        ]


class Chain(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


class ResidualBlock(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv_block = function

    def forward(self, x):
        return x + self.conv_block(x)


class CouplingBlock(nn.Module):
    def __init__(self, f, g):
        super().__init__()
        self.rev_block = nn.Module()
        self.rev_block.rev_block = nn.Module()
        self.rev_block.rev_block.Gm = g
        self.rev_block.rev_block.Fm = f

    def forward(self, x):
        f, g = self.rev_block.rev_block.Fm, self.rev_block.rev_block.Gm
        x1, x2 = x.chunk(2, dim=1)
        y1 = x1 + f(x2)
        return torch.cat([y1, x2 + g(y1)], dim=1)

    def inverse(self, y):
        f, g = self.rev_block.rev_block.Fm, self.rev_block.rev_block.Gm
        y1, y2 = y.chunk(2, dim=1)
        x2 = y2 - g(y1)
        return torch.cat([y1 - f(x2), x2], dim=1)


def resnet(kind, source=3, target=2, width=4, depth=2):
    """A ResNet generator in evaluation mode."""
    blocks = [ResidualBlock(kind.function(4 * width)) for _ in range(depth)]
    chain = Chain([*kind.encoder(source, width), *blocks, *kind.decoder(width, target)])
    return disturbed(chain)


def unet(kind, source=3, target=2, width=4, levels=3):
    """A U-Net in evaluation mode, by pix2pix's recipe, from the innermost level on."""

    def level(outer, inner, seen, within, place):
        scaled = {"kernel_size": 4, "stride": 2, "padding": 1}
        down = [nn.LeakyReLU(0.2), kind.conv(seen, inner, **scaled, bias=kind.bias)]
        arriving = inner if place == "innermost" else 2 * inner
        outermost = place == "outermost"
        up = kind.transposed(arriving, outer, **scaled, bias=outermost or kind.bias)
        if outermost:
            return [down[1], within, nn.ReLU(), up, nn.Tanh()]
        if place == "innermost":
            return [*down, nn.ReLU(), up, kind.norm(outer)]
        drops = [nn.Dropout(0.5)] if kind.dropout and outer == inner else []
        return [*down, kind.norm(inner), within, nn.ReLU(), up, kind.norm(outer), *drops]

    channels = [width * min(2**number, 8) for number in range(levels)]
    within = None
    for number in reversed(range(levels)):
        place = {0: "outermost", levels - 1: "innermost"}.get(number, "middle")
        outer = channels[number - 1] if number else target
        seen = outer if number else source
        within = Connected(level(outer, channels[number], seen, within, place), place)
    return disturbed(Wrapped(within))


class Connected(nn.Module):
    """A level of a U-Net, which lets its input past itself but for the outermost."""

    def __init__(self, layers, place):
        super().__init__()
        self.model, self.outermost = nn.Sequential(*layers), place == "outermost"

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], dim=1)


class Wrapped(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


class PlainRevGAN:
    """The five networks of the released code, by the names of their files."""

    def __init__(self, kind, a=3, b=2, width=4, depth=2):
        functions = [[kind.function(2 * width) for _ in "fg"] for _ in range(depth)]
        self.parts = {
            "G_A_enc": disturbed(Chain(kind.encoder(a, width))),
            "G_core": disturbed(Chain(CouplingBlock(f, g) for f, g in functions)),
            "G_A_dec": disturbed(Chain(kind.decoder(width, b))),
            "G_B_enc": disturbed(Chain(kind.encoder(b, width))),
            "G_B_dec": disturbed(Chain(kind.decoder(width, a))),
        }

    def __call__(self, x, direction):
        if direction == "AtoB":
            return self.parts["G_A_dec"](self.parts["G_core"](self.parts["G_A_enc"](x)))
        h = self.parts["G_B_enc"](x)
        for block in reversed(self.parts["G_core"].model):
            h = block.inverse(h)
        return self.parts["G_B_dec"](h)


def disturbed(network):
    """As after training: norms are not at their initial values either, as convolutions never are.

    In evaluation mode, but for instance norms: that code normalises with the instance's own.
    """
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.ndim == 1:
            value.add_(0.2 * torch.randn_like(value))
    network.eval()
    for layer in network.modules():
        if isinstance(layer, nn.InstanceNorm2d | nn.InstanceNorm3d):
            layer.train()
    return network


def save(network, path, prefix=""):
    """Writes the state dict as that code does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    torch.save(OrderedDict((prefix + key, value) for key, value in state.items()), path)
    return path


def save_parts(plain, folder, epoch="latest", prefix=""):
    """Writes the five files of the released code."""
    for name, network in plain.parts.items():
        save(network, folder / f"{epoch}_net_{name}.pth", prefix)
    return folder
