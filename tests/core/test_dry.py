"""Steps without memory hold and compute what real steps do."""

import dataclasses
import gc
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import BertConfig, GPT2Config, LlamaConfig, T5Config, XLNetConfig

from lathe.core import learn, native
from lathe.core.average import Average
from lathe.core.batches import EncodedRows, Plan, StepSize, batches
from lathe.core.dry import Ledger, rehearse
from lathe.core.fit import Course, quicken
from lathe.core.learn import State, Train
from lathe.core.optim import SGD, AdamW, Muon
from lathe.core.profile import Flops
from lathe.core.ready import Ready, evaluation_steps
from lathe.core.recompute import recompute_layers
from lathe.core.types import Symbols
from lathe.objectives import CausalLM, MaskedLM, PermutationLM, PrefixLM, SpanCorruption

VOCABULARY = 96
ADAMW = AdamW()
BERT = BertConfig(
    vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
)
GPT2 = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=1)
LLAMA = LlamaConfig(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
)
BIG_TABLE = BertConfig(
    vocab_size=1 << 15, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, tie_word_embeddings=False
)
XLNET = XLNetConfig(vocab_size=VOCABULARY, d_model=32, n_layer=1, n_head=2, d_inner=64)
T5 = T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, decoder_start_token_id=0)
CASES = [
    (BERT, MaskedLM(), ADAMW, "fp32"),
    (BERT, MaskedLM(), SGD(momentum=0.9), "bf16"),
    (GPT2, CausalLM(), Muon(), "fp32"),
    (LLAMA, CausalLM(), ADAMW, "bf16"),
    (BIG_TABLE, MaskedLM(), ADAMW, "fp32"),
    (GPT2, PrefixLM(), ADAMW, "fp32"),
    (XLNET, PermutationLM(), ADAMW, "fp32"),
    (T5, SpanCorruption(), ADAMW, "fp32"),
]


def ready_with(config, objective, optimizer=ADAMW, precision="fp32", tokens_per_batch=128, shortest=8) -> Ready:
    rng = np.random.default_rng(0)
    rows = [{"input_ids": rng.integers(5, VOCABULARY, shortest + n % 9)} for n in range(64)]
    source = EncodedRows(rows, rng.integers(0, 1 << 60, 64).astype(np.uint64))
    plan = Plan(source.lengths, StepSize(256, "tokens"), 0)
    symbols = Symbols(0, 4, VOCABULARY, (0, 1, 2, 3, 4), end=3, sentinels=(1, 2))
    course = Course(objective, source, symbols, plan, 10)
    train = Train(optimizer=optimizer, precision=precision, tokens_per_batch=tokens_per_batch)
    build = lambda: objective.auto_model.from_config(config)  # noqa: E731
    return Ready(objective.auto_model, config, build, course, train)


def steps_of(ready: Ready, count: int) -> list:
    course = ready.course
    made = batches(course.source, course.objective, course.symbols, course.plan, ready.config.tokens_per_batch)
    return list(islice(made, count))


class Observed(TorchDispatchMode):
    """The same count, of real tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self.ledger.add(leaf)
        return made


def taken(ready: Ready, steps: list) -> tuple[int, int]:
    """Most bytes that real steps hold, and the operations of the first."""
    gc.collect()
    with Observed() as seen:
        model = ready.build()
        if ready.config.gradient_checkpointing:
            recompute_layers(model)
        quicken(model)
        for parameter in model.parameters():
            seen.ledger.add(parameter)
        decay = ready.config.ema_decay
        state = State(ready.config.optimizer(model), average=None if decay is None else Average(model, decay))
        with Flops() as counter:
            learn.train_step(model, ready.course.objective, steps[0], ready.config, 10, state)
        for step in steps[1:]:
            learn.train_step(model, ready.course.objective, step, ready.config, 10, state)
    return seen.ledger.peak.total(), counter.total()


@pytest.mark.parametrize(("config", "objective", "optimizer", "precision"), CASES)
def test_a_dry_run_holds_and_computes_what_a_real_run_does(config, objective, optimizer, precision):
    ready = ready_with(config, objective, optimizer, precision)
    steps = steps_of(ready, 2)
    planned, (held, computed) = rehearse(ready, steps), taken(ready, steps)
    assert planned.training_flops == computed
    assert planned.bytes == pytest.approx(held, rel=0.02)
    assert planned.parameters == sum(p.numel() for p in ready.build().parameters())
    assert planned.memory["weights"] >= 4 * planned.parameters


@pytest.mark.skipif(native.library() is None, reason=f"no compiled operations: {native.missing()}")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_operations_in_c_and_those_of_torch_hold_what_a_dry_run_says(precision, monkeypatch):
    ready = ready_with(BERT, MaskedLM(), SGD(), precision, tokens_per_batch=256, shortest=104)
    steps = steps_of(ready, 1)
    in_c = rehearse(ready, steps).bytes
    assert in_c == pytest.approx(taken(ready, steps)[0], rel=0.02)
    for module in (native, native.calls, native.products):
        monkeypatch.setattr(module, "library", lambda: None)
    by_torch = rehearse(ready, steps).bytes
    assert by_torch == pytest.approx(taken(ready, steps)[0], rel=0.02)
    assert in_c < 0.8 * by_torch  # probabilities and masks are held by torch's alone


@pytest.mark.parametrize(("option", "value"), [("gradient_checkpointing", True), ("ema_decay", 0.9)])
def test_layers_that_run_again_and_an_average_are_in_a_dry_run(option, value):
    plain = ready_with(BERT, MaskedLM())
    ready = dataclasses.replace(plain, config=dataclasses.replace(plain.config, **{option: value}))
    steps = steps_of(ready, 1)
    needs = rehearse(ready, steps)
    assert needs.bytes == pytest.approx(taken(ready, steps)[0], rel=0.02)
    assert needs.bytes != rehearse(plain, steps).bytes
    assert needs.memory.get("average", 0) == (4 * needs.parameters if option == "ema_decay" else 0)


def test_parameters_are_counted_once_and_embeddings_apart():
    needs = rehearse(ready_with(BERT, MaskedLM()), steps_of(ready_with(BERT, MaskedLM()), 1))
    word_position_and_type = (VOCABULARY + 512 + 2) * 32
    attention, feed_forward, norms = 4 * (32 * 32 + 32), 32 * 64 + 64 + 64 * 32 + 32, 2 * 2 * 32
    head = 32 * 32 + 32 + 2 * 32 + VOCABULARY  # its matrix is the word table
    embedding_norm = 2 * 32
    assert needs.embeddings == word_position_and_type
    assert needs.parameters == (word_position_and_type + embedding_norm + attention + feed_forward + norms + head)
    assert needs.trainable == needs.parameters


def test_memory_goes_by_part():
    ready = ready_with(GPT2, CausalLM(), tokens_per_batch=128)
    needs = rehearse(ready, steps_of(ready, 2))
    assert needs.memory["weights"] == 4 * needs.parameters
    assert needs.memory["optimizer"] == 2 * 4 * needs.parameters  # two moments
    assert 0 < needs.memory["gradients"] <= 4 * needs.parameters
    sgd = dataclasses.replace(ready, config=Train(optimizer=SGD(), precision="fp32", tokens_per_batch=128))
    assert "optimizer" not in rehearse(sgd, steps_of(sgd, 2)).memory


def test_smaller_micro_batches_hold_less():
    held = []
    for tokens_per_batch in (64, 256):
        ready = ready_with(BERT, MaskedLM(), tokens_per_batch=tokens_per_batch)
        held.append(rehearse(ready, steps_of(ready, 1)).memory["activations"])
    assert held[0] < 0.7 * held[1]


def test_a_dry_run_allocates_no_weights():
    shape = GPT2Config(vocab_size=50_000, n_embd=16384, n_layer=2, n_head=64, bos_token_id=1, eos_token_id=1)
    ready = ready_with(shape, CausalLM())
    needs = rehearse(dataclasses.replace(ready, shape=shape), steps_of(ready, 1))
    assert needs.parameters > 6e9 and needs.memory["weights"] == 4 * needs.parameters


@pytest.mark.parametrize(("total", "every", "count"), [(10, 4, 3), (8, 4, 2), (3, 9, 1)])
def test_evaluations_come_every_so_many_steps_and_at_the_end(total, every, count):
    assert evaluation_steps(total, every) == count
