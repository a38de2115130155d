"""Where the time of a training step goes: a watch that the training loop carries, and what it has seen."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch.autograd.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from lathe.core.batches import StepBatches

Watch: TypeAlias = Callable[[StepBatches], AbstractContextManager[None]]
"""What the loop holds around each step."""

_current: ContextVar[Watch] = ContextVar("watch", default=lambda _: nullcontext())

KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "attention": ("sdpa", "attention"),
        "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "convolution"),
        "softmax": ("softmax",),
        "norms": ("layer_norm", "rms_norm", "group_norm", "rsqrt", "pow", "mean"),
        "activations": ("gelu", "relu", "silu", "tanh", "sigmoid"),
        "dropout": ("dropout", "random", "bernoulli", "bitwise_and", "lt", "neg"),
        "rows gathered and scattered": ("index", "embedding", "gather", "scatter", "cat", "nonzero", "unique", "sort"),
        "casts and copies": ("copy", "clone", "contiguous", "fill", "zero", "to"),
        "optimizer": ("adam", "sgd", "lerp", "addcdiv", "addcmul", "linalg_vector_norm", "foreach", "muon"),
        "other arithmetic": (
            "add",
            "mul",
            "sub",
            "div",
            "sum",
            "exp",
            "log",
            "sqrt",
            "max",
            "min",
            "nll_loss",
        ),
    }
)
"""What an operation of torch is for, by words in its name (a short word: all of it); the first that fits."""


class Flops(FlopCounterMode):
    """Within it, floating-point operations are counted: those of torch's products, and those that Lathe does itself."""

    def __init__(self) -> None:
        super().__init__(display=False)
        self.own = 0

    def __enter__(self) -> "Flops":
        _counters.append(self)
        super().__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        _counters.remove(self)

    def total(self) -> int:
        return int(self.get_total_flops()) + self.own


_counters: list[Flops] = []


def count(flops: int) -> None:
    """Tell whoever counts of operations that torch does not know of."""
    for counter in _counters:
        counter.own += flops


COMPILED = ("CompiledFunction", "Torch-Compiled Region", "## Call CompiledFxGraph", "triton_")
"""What torch.compile calls its own code, by the beginnings of the names."""


class Enough(Exception):  # noqa: N818 - not an error: how a watched run ends
    """The watch has seen all it wanted; nothing is to be saved."""


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Within it, every training loop of this thread calls ``watch`` around its steps."""
    token = _current.set(watch)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Watch:
    return _current.get()


@dataclass
class Profile:
    """A watch: some steps to warm up, some timed, some under torch's profiler; then it ends the run.

    The profiler slows a step down, so rates come from the timed steps, and only the shares from the profiled ones.
    """

    warm_up: int
    timed: int
    profiled: int
    seconds: list[float] = field(default_factory=list)  # of the timed steps
    rows: int = 0
    tokens: int = 0  # real ones
    positions: int = 0  # padding included
    flops: int = 0  # of matrix products in the last step of the warm-up, forward and backward
    flop_tokens: int = 0  # of that step
    kinds: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # seconds a profiled step
    operations: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    profiled_seconds: float = 0.0  # a profiled step
    _number: int = 0

    @contextmanager
    def __call__(self, step: StepBatches) -> Iterator[None]:
        self._number += 1
        if self._number <= self.warm_up:
            with _counting() if self._number == self.warm_up else nullcontext() as counter:
                yield
            if counter is not None:
                self.flops, self.flop_tokens = counter.total(), step.tokens
        elif self._number <= self.warm_up + self.timed:
            with _clock(self.seconds):
                yield
            self.rows += len(step.rows)
            self.tokens += step.tokens
            self.positions += sum(batch.inputs["input_ids"].numel() for batch in step.micro)
        else:
            with _clock(spent := list[float]()), _profiler() as profiler:
                yield
            self.profiled_seconds += spent[0] / self.profiled
            self._add_up(profiler)
            if self._number == self.warm_up + self.timed + self.profiled:
                raise Enough

    def _add_up(self, profiler: profile) -> None:
        """Each operation's own time: on a GPU that of its kernels, which are also listed by themselves."""
        on_gpu = torch.cuda.is_available()
        for event in profiler.key_averages():
            if on_gpu and not event.key.startswith("aten::") and not _is_fused_kernel(event):
                continue
            own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            self.operations[event.key] += own / 1e6 / self.profiled
            self.kinds[kind_of(event.key)] += own / 1e6 / self.profiled


def kind_of(operation: str) -> str:
    """What an operation is for.

    >>> kind_of("aten::native_layer_norm_backward"), kind_of("aten::_fused_adamw_"), kind_of("_Attention")
    ('norms', 'optimizer', 'bookkeeping')
    """
    if operation.startswith(COMPILED):
        return "compiled layers"
    name = operation.removeprefix("aten::").removeprefix("mkldnn::").strip("_")
    if operation in KINDS:  # what Lathe does by itself goes by its kind
        return operation
    if not operation.startswith(("aten::", "mkldnn::")):
        return "bookkeeping"
    for kind, words in KINDS.items():
        if any(word in name if len(word) > 3 else name == word for word in words):
            return kind
    return "bookkeeping"


def peak_flops(dtype: torch.dtype, place: torch.device, size: int = 2048, tries: int = 8) -> float:
    """The most floating-point operations a second that this machine does in a large matrix product."""
    a, b = (torch.ones(size, size, dtype=dtype, device=place) for _ in range(2))
    spent: list[float] = []
    for _ in range(tries):
        with _clock(spent):
            a @ b
    return 2 * size**3 / min(spent)


@contextmanager
def _counting() -> Iterator[Flops]:
    """Compiled layers run uncompiled within it: operations that were fused are not seen one by one."""
    with torch.compiler.set_stance("force_eager"), Flops() as counter:
        yield counter


def _is_fused_kernel(event: Any) -> bool:
    """Of one that torch.compile wrote: the kernel on the GPU itself, not also the call that starts it."""
    return bool(event.key.startswith("triton_") and event.device_type.name == "CUDA")


def _profiler() -> profile:
    """On a CPU the older of torch's two tracers: the newer one writes lines of its own to standard error."""
    return profile(use_device="cuda") if torch.cuda.is_available() else profile(use_kineto=False)


@contextmanager
def _clock(spent: list[float]) -> Iterator[None]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started_s = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    spent.append(time.perf_counter() - started_s)
