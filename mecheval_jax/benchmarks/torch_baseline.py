# pyright: reportMissingImports=false
"""PyTorch's training step and interchange grid, on the same documents as ours.

The step computes logits at the queries alone and uses the fused AdamW, eagerly or through
``torch.compile``. The grid is a run for every site, role and corruption, with a hook that puts in
the clean activation. Batches are drawn before the measurement, so PyTorch's step is measured
without sampling, while ours includes it.
"""

import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval_jax.array_types import PyTree
from mecheval_jax.benchmarks.torch_models import TorchModel
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.grid import role_positions, tokens_of_runs
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath, block_name
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.training.config import TrainingConfig

PLACES = {
    # component: module of a block at which it is read ("" for the block), and before or behind it
    "block_input": ("", "before"),
    "mixer_input": ("mixer", "before"),
    "mixer_output": ("mixer", "behind"),
    "mlp_input": ("mlp", "before"),
    "mlp_output": ("mlp", "behind"),
    "block_output": ("", "behind"),
}


def device() -> torch.device:
    """PyTorch's accelerator, if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def settle() -> None:
    """Wait until the device has finished all its work."""
    if device().type == "cuda":
        torch.cuda.synchronize()


def load(config: ModelConfig, params: PyTree) -> TorchModel:
    """The baseline's model on the device, with parameters of ours."""
    if device().type == "cuda":
        torch.set_float32_matmul_precision("high")  # products in TF32, as jax's are there
    model = TorchModel(config)
    model.load(params)
    return model.to(device())


def tensor(array: object) -> Tensor:
    """Integers on the device, of the type by which PyTorch indexes."""
    return torch.tensor(np.asarray(array)).long().to(device())


def training_steps(
    model: TorchModel,
    task: Task,
    training: TrainingConfig,
    batches: Sequence[Batch],
    compiled: bool,
) -> Callable[[int], None]:
    """A function that takes a given number of training steps.

    Args:
        model: Model that is trained.
        task: Task of the documents.
        training: Learning rate, decay and betas.
        batches: Documents of the steps, used again and again.
        compiled: Whether ``torch.compile`` compiles loss and gradient.
    """
    betas = (training.beta1, training.beta2)
    rate, decay = training.learning_rate, training.weight_decay
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=rate, betas=betas, weight_decay=decay, fused=True
    )
    # Documents lie on the device from the start: their transfer is no part of a step.
    documents = itertools.cycle(
        [
            tuple(map(tensor, (b.tokens[:, : task.read_length], b.query_positions, b.targets)))
            for b in batches
        ]
    )

    def loss(tokens: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(model(tokens, positions).flatten(0, 1), targets.flatten())

    run = torch.compile(loss) if compiled else loss

    def take(count: int) -> None:
        for _ in range(count):
            run(*next(documents)).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        settle()

    return take


def interchange(
    model: TorchModel, task: Task, batch: Batch, evaluation: EvaluationConfig, sites: Sequence[str]
) -> Callable[[], dict[str, np.ndarray]]:
    """A function that computes the patched runs of a grid that restores.

    Args:
        model: Model that is asked.
        task: Task of the documents.
        batch: Evaluation documents; query 0 is asked.
        evaluation: Roles, corruptions and seed.
        sites: Paths of components of the blocks.

    Returns:
        The function; it returns the probability of the answer by site, [corruption, role,
        document].
    """
    clean, *corrupted = map(tensor, tokens_of_runs(task, batch, evaluation))
    roles = tensor(role_positions(batch, evaluation.roles))
    asked, answers = tensor(batch.query_positions[:, :1]), tensor(batch.targets[:, :1])
    documents = torch.arange(len(clean), device=device())

    def probability(tokens: Tensor) -> np.ndarray:
        chances = model(tokens, asked)[:, 0].softmax(dim=-1)
        return chances.gather(1, answers)[:, 0].cpu().numpy()

    @torch.inference_mode()
    def run() -> dict[str, np.ndarray]:
        # One run that collects the clean activations, then one run for each patch.
        found: dict[str, Tensor] = {}
        hooks = [_hook(model, site, functools.partial(found.__setitem__, site)) for site in sites]
        model(clean, asked)
        for hook in hooks:
            hook.remove()
        patched = {}
        for site in sites:
            rows = []
            for tokens, positions in itertools.product(corrupted, roles):
                source = found[site][documents, positions]

                def put(x: Tensor, positions: Tensor = positions, s: Tensor = source) -> Tensor:
                    x = x.clone()
                    x[documents, positions] = s
                    return x

                hook = _hook(model, site, put)
                rows.append(probability(tokens))
                hook.remove()
            patched[site] = np.stack(rows).reshape(len(corrupted), len(roles), -1)
        return patched

    return run


def _hook(model: TorchModel, site: str, visit: Callable[[Tensor], Tensor | None]) -> object:
    """Call `visit` on the activation at a site in every run, and replace that by its result."""
    path = SitePath.parse(site)
    name, when = PLACES[path.component]
    block = model.blocks[block_name(path.layer)]
    module: nn.Module = getattr(block, name) if name else block
    if when == "before":
        return module.register_forward_pre_hook(lambda _, given: visit(given[0]))
    return module.register_forward_hook(lambda _, given, output: visit(output))


def draw(task: Task, training: TrainingConfig, count: int = 16) -> list[Batch]:
    """A number of batches of training documents."""
    keys = jax.random.split(jax.random.key(training.data_seed), count)
    return [task.sample(key, training.batch_size, "train") for key in keys]
