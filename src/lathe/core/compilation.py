"""torch.compile for the layers of a model, while it trains.

A layer's own code is compiled, whatever its family; the rest of the model stays as it is. Attention over packed rows
and what Lathe computes in C are calls out of the compiled code ("graph breaks"): torch fuses what lies between them.
Sizes of batches are symbols: a batch of another size needs no other code.

The code depends on the sizes that it is first made for, and with it the last bits of what it computes. A resumed run
must end with the bits of the unbroken one. So all code is made before the first step, for the batches of the run's
first step also where it goes on from a later one, and none is taken from what an earlier run has left on the disk. What
that code does not fit (a row alone where others were padded, an evaluation) runs uncompiled.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from transformers import PreTrainedModel

from lathe.core.errors import RecipeError
from lathe.core.packing import plain_layers, stacks
from lathe.core.report import say

BACKEND = "inductor"
OF_INDUCTOR = {"deterministic": True, "fx_graph_cache": False}
"""Its choices are made neither by a clock nor by an earlier run."""
MOST_VARIANTS = 64
"""Of one function, for instance for layers with and without a window; torch would go on without compiling, silently."""

ADVICE = "Set TORCHDYNAMO_VERBOSE"
"""Where torch's messages turn to those who develop it."""


@contextmanager
def compiled_layers(model: PreTrainedModel, first_step: Callable[[], None]) -> Iterator[None]:
    """Within it the layers of ``model`` run by the code that ``first_step`` needed, forward and backward.

    Raises ``RecipeError`` for a model without a list of layers, and where torch cannot compile them.
    """
    kind = model.config.model_type
    layers = [layer for _, stack in stacks(model) for layer in stack]
    if not layers:
        raise RecipeError(
            f"train.torch_compile: models of type {kind!r} have no list of layers that can be compiled; set it to false"
        )
    plain_layers(model)  # those in C are larger pieces than torch would compile, but for CPUs
    torch._dynamo.reset()  # code of another run in this process was made for other batches
    say("compiling the layers: a minute or more, at every start (train.torch_compile=false does without)")
    try:
        with _for_all_sizes():
            for layer in layers:
                layer.forward = torch.compile(layer.forward, dynamic=True, backend=BACKEND, options=_options())
            first_step()
        model.zero_grad(set_to_none=True)
        with torch.compiler.set_stance("eager_on_recompile"):
            yield
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        raise RecipeError(
            f"train.torch_compile: torch could not compile the layers of a model of type {kind!r}; set it to false. "
            f"What torch says: {' '.join(str(error).partition(ADVICE)[0].split())}"
        ) from error
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)  # that of its class comes forth
        torch._dynamo.reset()


@contextmanager
def _for_all_sizes() -> Iterator[None]:
    """Within it code is made that serves batches of every size; where that cannot be, it is an error."""
    limits = torch._dynamo.config.patch(recompile_limit=MOST_VARIANTS, fail_on_recompile_limit_hit=True)
    sizes = torch.fx.experimental._config  # tokens as many as the model is wide are so by chance: not one symbol
    symbols = sizes.patch(use_duck_shape=False)  # type: ignore[attr-defined]
    with limits, symbols, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself: modules it imports, gradients it looks for
        yield


def _options() -> dict[str, str | int | bool | Callable[..., object]] | None:
    return {**OF_INDUCTOR} if BACKEND == "inductor" else None
