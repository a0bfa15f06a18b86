# pyright: reportMissingImports=false
# ruff: noqa: D102
"""The study's models in plain PyTorch, as an experienced user would write them.

    r = E[tokens] (+ P);   r = r + mixer(norm(r));   r = r + mlp(norm(r));   logits = norm(r) E^T

They compute the same as `models.language_model` from the same parameters, and are the baseline of
`benchmarks.torch_baseline`: attention by the fused kernel, Hyena by FFT, Mamba by a loop over the
tokens, Mamba-2 as one chunk without a carried state, DeltaNet by a triangular solve. The equations
are in the mixers of the same names. torch is an optional package: only that benchmark imports this
module.
"""

import math

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from torch import Tensor, nn
from torch.nn import functional

from mecheval_jax.array_types import PyTree
from mecheval_jax.mixers.filters import hyena_rates, linspace
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import block_name

EPSILON = 1e-5


class ShortConvolution(nn.Module):
    """A causal depthwise convolution of [batch, length, channels]."""

    def __init__(self, width: int, kernel: int, bias: bool = True):
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, groups=width, bias=bias, padding=kernel - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.mT)[..., : x.shape[1]].mT


class Attention(nn.Module):
    """One head of causal softmax attention."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = config.width
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv_proj(x)[:, None].chunk(3, dim=-1)
        return self.out_proj(functional.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0])


class SineFilter(nn.Module):
    """Hyena's filter, a network of the position times a decaying window."""

    def __init__(self, config: ModelConfig, order: int = 64):
        super().__init__()
        length, width = config.max_length, config.width
        self.features = nn.Parameter(torch.zeros(length, 3))
        self.frequency = nn.Parameter(torch.ones(order))
        self.fc1 = nn.Linear(3, order)
        self.fc2, self.fc3 = nn.Linear(order, order), nn.Linear(order, order)
        self.fc4 = nn.Linear(order, width, bias=False)
        window = np.exp(-linspace(0, 1, length)[:, None] * np.abs(hyena_rates(width)))
        self.register_buffer("window", torch.tensor(window, dtype=torch.float32), persistent=False)

    def forward(self, length: int) -> Tensor:
        h = self.features[:length]
        for layer in (self.fc1, self.fc2, self.fc3):
            h = torch.sin(self.frequency * layer(h))
        return self.fc4(h) * self.window[:length]


class Hyena(nn.Module):
    """Hyena of order 2, its long convolution by FFT."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = config.width
        self.in_proj = nn.Linear(width, 3 * width)
        self.short_conv = ShortConvolution(3 * width, 3)
        self.filter = SineFilter(config)
        self.D = nn.Parameter(torch.zeros(width))  # the study does not use it
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x1, x2, v = self.short_conv(self.in_proj(x)).chunk(3, dim=-1)
        length, v = x.shape[1], x1 * v
        taps = torch.fft.rfft(self.filter(length), n=2 * length, dim=0)
        spectrum = torch.fft.rfft(v, n=2 * length, dim=1) * taps
        return self.out_proj(x2 * torch.fft.irfft(spectrum, n=2 * length, dim=1)[:, :length])


class Mamba(nn.Module):
    """Mamba, its scan a loop over the tokens."""

    def __init__(self, config: ModelConfig, d_state: int = 16):
        super().__init__()
        width = config.width
        self.rank, self.d_state = math.ceil(width / 16), d_state
        self.in_proj = nn.Linear(width, 4 * width, bias=False)
        self.conv = ShortConvolution(2 * width, 4)
        self.x_proj = nn.Linear(2 * width, self.rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.rank, 2 * width)
        self.A_log = nn.Parameter(torch.zeros(2 * width, d_state))
        self.D = nn.Parameter(torch.ones(2 * width))
        self.out_proj = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.in_proj(x).chunk(2, dim=-1)
        u = functional.silu(self.conv(u))
        dt, B, C = self.x_proj(u).split((self.rank, self.d_state, self.d_state), dim=-1)
        dt = functional.softplus(self.dt_proj(dt))
        decay = torch.exp(dt[..., None] * -torch.exp(self.A_log))
        write = (dt * u)[..., None] * B[:, :, None]
        # Unbinding an array once is far cheaper than indexing it at every token, especially in the
        # backward pass, where each index would fill an array of zeros of the full size.
        state, outputs = torch.zeros_like(write[:, 0]), []
        for a, w, c in zip(decay.unbind(1), write.unbind(1), C.unbind(1), strict=True):
            state = a * state + w
            outputs.append((state @ c[..., None])[..., 0])
        return self.out_proj((torch.stack(outputs, dim=1) + self.D * u) * functional.silu(z))


class Mamba2(nn.Module):
    """Mamba-2 as one chunk: attention without softmax, with a mask of decays."""

    def __init__(self, config: ModelConfig, d_state: int = 128, head_dim: int = 64):
        super().__init__()
        inner = 2 * config.width
        heads = inner // head_dim
        self.parts, self.heads, self.d_state = (inner, inner + 2 * d_state, heads), heads, d_state
        self.in_proj = nn.Linear(config.width, sum(self.parts), bias=False)
        self.conv = ShortConvolution(self.parts[1], 4)
        self.dt_bias, self.D = nn.Parameter(torch.zeros(heads)), nn.Parameter(torch.ones(heads))
        self.A_log = nn.Parameter(torch.zeros(heads))
        self.norm_scale = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        z, mixed, dt = self.in_proj(x).split(self.parts, dim=-1)
        mixed = functional.silu(self.conv(mixed))
        u, B, C = mixed.split((self.parts[0], self.d_state, self.d_state), dim=-1)
        dt = functional.softplus(dt + self.dt_bias).mT  # [batch, heads, length]
        u = u.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        total = (-torch.exp(self.A_log)[:, None] * dt).cumsum(-1)
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        logs = (total[..., :, None] - total[..., None, :]).masked_fill(later, -torch.inf)
        y = ((C @ B.mT)[:, None] * torch.exp(logs)) @ (dt[..., None] * u)
        y = (y + self.D[:, None, None] * u).transpose(1, 2).flatten(2) * functional.silu(z)
        return self.out_proj(functional.rms_norm(y, y.shape[-1:], self.norm_scale, EPSILON))


class DeltaNet(nn.Module):
    """DeltaNet as one chunk: the values that tokens really write solve a triangular system."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = config.width
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.qkv_conv = ShortConvolution(3 * width, 4, bias=False)
        self.b_proj = nn.Linear(width, 1, bias=False)
        self.o_norm = nn.RMSNorm(width, eps=EPSILON)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = functional.silu(self.qkv_conv(self.qkv_proj(x))).chunk(3, dim=-1)
        q, k = (h * torch.rsqrt((h * h).sum(-1, keepdim=True) + 1e-6) for h in (q, k))
        beta = torch.sigmoid(self.b_proj(x))
        system = torch.tril(beta * (k @ k.mT), -1)  # its diagonal of ones is not stored
        written = torch.linalg.solve_triangular(system, beta * v, upper=False, unitriangular=True)
        o = torch.tril(q @ k.mT) @ written * x.shape[-1] ** -0.5
        return self.o_proj(self.o_norm(o))


MIXERS: dict[str, type[nn.Module]] = {
    "attention": Attention,
    "hyena": Hyena,
    "mamba": Mamba,
    "mamba2": Mamba2,
    "delta_net": DeltaNet,
}


class MLP(nn.Module):
    """Two dense layers with the exact GELU between them."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """A mixer and an MLP; a Mamba block has no MLP, and an RMSNorm."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, mamba = config.width, config.mixer in ("mamba", "mamba2")
        self.mixer_norm = (nn.RMSNorm if mamba else nn.LayerNorm)(width, eps=EPSILON)
        self.mixer = MIXERS[config.mixer](config)
        self.mlp_norm = None if mamba else nn.LayerNorm(width, eps=EPSILON)
        self.mlp = None if mamba else MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.mixer_norm(x))
        if self.mlp is None or self.mlp_norm is None:
            return x
        return x + self.mlp(self.mlp_norm(x))


class TorchModel(nn.Module):
    """A language model that is read at some positions alone.

    Args:
        config: Config of the model, one of `MIXERS` with its default options.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocabulary_size, config.width)
        learned = config.positions == "learned"
        self.position_embedding = nn.Embedding(config.max_length, config.width) if learned else None
        self.blocks = nn.ModuleDict({block_name(i): Block(config) for i in range(config.layers)})
        self.output_norm = nn.LayerNorm(config.width, eps=EPSILON)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Logits [batch, queries, vocabulary] at `positions` [batch, queries]."""
        x = self.token_embedding(tokens)
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[: tokens.shape[1]]
        for block in self.blocks.values():
            x = block(x)
        asked = x.gather(1, positions[..., None].expand(-1, -1, x.shape[-1]))
        return functional.linear(self.output_norm(asked), self.token_embedding.weight)

    def load(self, params: PyTree) -> None:
        """Take over the parameters of one of our models; see `models.language_model`."""
        flat = flatten_dict(params, sep=".")
        left = {path: np.asarray(leaf) for path, leaf in flat.items()}
        ours = {name: name.removeprefix("blocks.") for name in self.state_dict()}
        for joint in [name for name in ours.values() if "qkv_" in name]:
            inner = joint.replace("conv.conv.", "conv.").replace("proj.weight", "proj.kernel")
            parts = [left.pop(inner.replace("qkv_", f"{part}_")) for part in "qkv"]
            left[inner] = np.concatenate(parts, axis=-1)
        state = {name: _parameter(path, left) for name, path in ours.items()}
        if left:
            raise ValueError(f"no parameter of the baseline takes {sorted(left)}")
        self.load_state_dict(state)


def _parameter(name: str, left: dict[str, np.ndarray]) -> Tensor:
    """Take from `left` the value of a PyTorch parameter, in PyTorch's layout."""
    taps = name.replace("conv.conv.", "conv.")
    base = taps.removesuffix(".weight")
    if taps != name and taps.endswith("weight"):
        array = left.pop(taps).T[:, None]  # [channels, 1, taps], the newest last
    elif f"{base}.kernel" in left:
        array = left.pop(f"{base}.kernel").T
    else:
        found = [key for key in (taps, f"{base}.scale", f"{base}.embedding") if key in left]
        array = left.pop(found[0])
    return torch.tensor(array)
