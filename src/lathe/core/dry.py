"""Training steps on tensors that have shapes and no memory: what they would hold at most, and what they would compute.

The steps are those of `lathe.core.learn`, with the model, the objective and the optimizer of the run, so this holds for
every family, precision and update rule. Only torch's own tensors are seen: what libraries below it take for themselves,
and what an allocator cannot use again, comes on top.
"""

import warnings
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.initialization import no_init_weights

from lathe.core import learn, tables
from lathe.core.average import UPDATES, Average
from lathe.core.batches import StepBatches
from lathe.core.fit import quicken
from lathe.core.learn import State
from lathe.core.optim import trainable
from lathe.core.profile import Flops
from lathe.core.ready import Ready
from lathe.core.recompute import recompute_layers
from lathe.core.runtime import autocast, dtype_of

WEIGHTS, GRADIENTS, OPTIMIZER, ACTIVATIONS = "weights", "gradients", "optimizer", "activations"
AVERAGE = "average"
SAVED = (WEIGHTS, OPTIMIZER, AVERAGE)
"""Parts that a checkpoint has."""


@dataclass(frozen=True)
class Needs:
    """What the steps of a run need."""

    parameters: int
    trainable: int
    embeddings: int  # of all parameters, those of tables of words and positions
    memory: dict[str, int]  # bytes by part, at the moment when there are most
    forward_flops: int  # of the first step that was asked for
    training_flops: int  # the same, with the backward pass and the update
    tokens: int  # of that step

    @property
    def bytes(self) -> int:
        return sum(self.memory.values())


def rehearse(ready: Ready, steps: Sequence[StepBatches]) -> Needs:
    """Take ``steps`` without memory. The optimizer has its state from the second one on, so let the largest be last."""
    with DryRun() as dry:
        dry.makes_weights = True
        with no_init_weights():  # some are drawn again until all are in a range
            model = ready.auto_model.from_config(ready.shape)
        model.tie_weights()
        if ready.adapt:
            with _nothing_moves():
                ready.adapt(model)
        dry.makes_weights = False
        if ready.config.gradient_checkpointing:
            recompute_layers(model)
        quicken(model)
        for parameter in model.parameters():
            dry.ledger.name(parameter, WEIGHTS)
        for parameter in trainable(model):
            parameter.register_post_accumulate_grad_hook(dry.has_gradient)
        forward = _forward_flops(model, ready, steps[0])
        decay = ready.config.ema_decay
        average = None if decay is None else Average(model, decay)
        for name, mean in (average.tensors() if average else {}).items():
            if name != UPDATES:
                dry.ledger.name(mean, AVERAGE)
        state = State(ready.config.optimizers(model), average=average)
        with Flops() as counter:
            learn.train_step(model, ready.course.objective, steps[0], ready.config, ready.course.total, state)
        for step in steps[1:]:
            _name_state(dry, model, state)
            learn.train_step(model, ready.course.objective, step, ready.config, ready.course.total, state)
        memory = {part: size for part, size in dry.ledger.peak.items() if size}
    embeddings = {id(m.weight): m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding)}
    return Needs(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in trainable(model)),
        embeddings=sum(embeddings.values()),
        memory=memory,
        forward_flops=forward,
        training_flops=counter.total(),
        tokens=steps[0].tokens,
    )


@contextmanager
def _nothing_moves() -> Iterator[None]:
    """Within it `Module.to` does nothing: weights without memory are where they should be, and cannot be replaced."""
    apply = nn.Module._apply
    nn.Module._apply = lambda module, *_, **__: module  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a copy of a module asks where its weights lie
            yield
    finally:
        nn.Module._apply = apply  # type: ignore[method-assign]


class DryRun(TorchDispatchMode):
    """Within it, weights have no memory and their products take no time; indices and masks are computed as ever.

    An operation on real tensors alone is carried out, since which rows a batch has decides about shapes. One that takes
    a tensor without memory makes such tensors; a number that is asked of one is 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.makes_weights = False  # a tensor made from nothing has no memory either
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def has_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self.ledger.name(parameter.grad, GRADIENTS)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        is_dry = any(isinstance(tensor, FakeTensor) for tensor in given)
        if not is_dry and (given or not self.makes_weights):
            made = func(*args, **kwargs)
        elif func is torch.ops.aten._local_scalar_dense.default:
            return 1.0
        else:
            with self._fake:
                made = func(*args, **kwargs)
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.ledger.add(leaf)
        return made


@dataclass
class Ledger:
    """Bytes that are alive, by part, and how they stood when there were most."""

    alive: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    _known: dict[int, tuple[str, int]] = field(default_factory=dict)  # part and bytes, by the id of a living storage

    def add(self, tensor: Tensor) -> None:
        """Count the storage of ``tensor`` once, from now until it is freed."""
        storage = tensor.untyped_storage()
        if id(storage) not in self._known:
            self._known[id(storage)] = ACTIVATIONS, storage.nbytes()
            weakref.finalize(storage, self._remove, id(storage)).atexit = False
            self.alive[ACTIVATIONS] += storage.nbytes()
            if self.alive.total() > self.peak.total():
                self.peak = self.alive.copy()

    def name(self, tensor: Tensor, part: str) -> None:
        """From now on it counts among ``part``."""
        self.add(tensor)
        before, size = self._known[id(tensor.untyped_storage())]
        self._known[id(tensor.untyped_storage())] = part, size
        self.alive[before] -= size
        self.alive[part] += size

    def _remove(self, storage: int) -> None:
        part, size = self._known.pop(storage)
        self.alive[part] -= size


def _name_state(dry: DryRun, model: nn.Module, state: State) -> None:
    for optimizer in state.optimizers:
        for slots in optimizer.state.values():
            for value in slots.values():
                if isinstance(value, FakeTensor):
                    dry.ledger.name(value, OPTIMIZER)
    for module in model.modules():  # a table's gradient outlives the step
        if isinstance(module, tables.Table) and module.kept is not None:
            dry.ledger.name(module.kept, GRADIENTS)


def _forward_flops(model: nn.Module, ready: Ready, step: StepBatches) -> int:
    """Weights ask for no gradient meanwhile: `no_grad` alone leaves views of them that the counter cannot follow."""
    place, learnt = next(model.parameters()).device, trainable(model)
    for parameter in learnt:
        parameter.requires_grad_(False)
    with Flops() as counter, torch.no_grad(), autocast(place, dtype_of(ready.config.precision)):
        for batch in step.micro:
            ready.course.objective.loss(model, batch.to(place))
    for parameter in learnt:
        parameter.requires_grad_(True)
    return counter.total()
