"""Fused layers: equal to the family's own, with its randomness, in its precision; and left alone where they must be."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.bert.modeling_bert import BertSelfAttention

from lathe.core import fit, native, packing
from lathe.core.native import between
from lathe.core.native.between import Addition
from lathe.core.packing import blocks, layers
from lathe.core.recompute import recompute_layers

pytestmark = pytest.mark.skipif(native.library() is None, reason=f"no compiled operations: {native.missing()}")

SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 200, "pad_token_id": 1,
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "bert": hf.BertConfig, "camembert": hf.CamembertConfig, "electra": hf.ElectraConfig, "ernie": hf.ErnieConfig,
    "roberta": hf.RobertaConfig, "xlm-roberta": hf.XLMRobertaConfig,
}  # fmt: skip
FAMILIES = [*CONFIGS, "distilbert"]
LENGTHS = [5, 17, 1, 11, 24, 9]


def model_of(family: str = "bert", p: float = 0.0, **options: Any) -> Any:
    """A packed model whose layers are its family's own, with random biases and norms."""
    torch.manual_seed(0)
    if family == "distilbert":
        names = {"hidden_act": "activation"}
        config = hf.DistilBertConfig(
            vocab_size=97, dim=32, n_layers=2, n_heads=2, hidden_dim=64, pad_token_id=1,
            **{names.get(name, name): value for name, value in options.items()},
        )  # fmt: skip
    else:
        config = CONFIGS[family](**SIZES | options)
    model = hf.AutoModelForTokenClassification.from_config(config).train()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = p
    packing.fast_dropout(model)
    assert packing.enable(model) is None
    return model


def batch_of(lengths: list[int]) -> dict[str, Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(4, 97, mask.shape, generator=torch.Generator().manual_seed(3))
    return {"input_ids": torch.where(mask, ids, 1), "attention_mask": mask.long()}


def results_of(model: Any, batch: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Logits and gradients by name."""
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits = model(**batch).logits[batch["attention_mask"].bool()]
    logits.backward(torch.randn(logits.shape, generator=torch.Generator().manual_seed(11)).to(logits.dtype))
    return {"logits": logits.detach()} | {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a layer runs fused."""
    ran: list[int] = []
    run = layers._run
    monkeypatch.setattr(layers, "_run", lambda *given: (ran.append(1), run(*given))[1])
    return ran


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert ours.keys() == theirs.keys()
    for name, exact in theirs.items():
        assert (ours[name] - exact).abs().max() <= tolerance * max(float(exact.abs().max()), 0.1), name


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_fused_layers_equal_the_familys_own_in_outputs_and_gradients(
    family: str, lengths: list[int], runs: list[int]
) -> None:
    model, batch = model_of(family), batch_of([*lengths, 1])
    packed = results_of(model, batch)
    packing.fuse_layers(model)
    runs.clear()
    assert_close(results_of(model, batch), packed)
    assert len(runs) == 2
    packing.disable(model)
    assert_close(results_of(model, batch), packed)  # padded
    assert len(runs) == 2


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
@pytest.mark.parametrize(
    "lengths", [[1], [1, 1], [140, 3]], ids=["one token", "rows of one", "long for attention in C"]
)
def test_every_activation_and_any_rows(activation: str, lengths: list[int], runs: list[int]) -> None:
    model, batch = model_of(hidden_act=activation), batch_of(lengths)
    packed = results_of(model, batch)
    packing.fuse_layers(model)
    assert_close(results_of(model, batch), packed)
    assert len(runs) == 2


def test_a_decoder_of_this_shape_sees_no_later_token(runs: list[int]) -> None:
    torch.manual_seed(0)
    model = hf.BertLMHeadModel(hf.BertConfig(**SIZES, is_decoder=True)).eval()
    packing.enable(model)
    batch = batch_of(LENGTHS)
    packed = model(**batch).logits
    packing.fuse_layers(model)
    torch.testing.assert_close(model(**batch).logits, packed, rtol=0, atol=1e-5)
    assert len(runs) == 2


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_in_bfloat16_gradients_are_as_exact_as_those_of_autocast(family: str) -> None:
    """Mean error beside float32, over all numbers of each parameter, and over parameters."""
    model, batch = model_of(family), batch_of(LENGTHS * 4)
    exact = results_of(model, batch)
    theirs = results_of(model, batch, torch.bfloat16)
    packing.fuse_layers(model)
    ours = results_of(model, batch, torch.bfloat16)
    ratios = {}
    for name, value in exact.items():
        mine, other = ((found[name].float() - value).norm() for found in (ours, theirs))
        ratios[name] = float(mine / other.clamp(min=1e-6 * value.norm()))
        assert ratios[name] < 3, (name, ratios[name])
    assert sum(ratios.values()) / len(ratios) < 1.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_seed_gives_the_same_numbers_with_one_thread_and_with_two_and_run_again(dtype: torch.dtype) -> None:
    model, batch = model_of(p=0.2), batch_of(LENGTHS)
    packing.fuse_layers(model)
    threads, found = torch.get_num_threads(), []
    try:
        for count, seed, setup in ((1, 5, None), (2, 5, None), (2, 5, recompute_layers), (2, 6, None)):
            torch.set_num_threads(count)
            if setup is not None:
                setup(model)
            torch.manual_seed(seed)
            found.append(results_of(model, batch, dtype))
    finally:
        torch.set_num_threads(threads)
    own = [name for name in found[0] if "embeddings" not in name]  # theirs come from torch's norm
    for again in found[1:3]:
        assert [name for name in own if not torch.equal(again[name], found[0][name])] == []
    assert not torch.equal(found[0]["logits"], found[3]["logits"])


def addition_of(tokens: int = 37, width: int = 48, p: float = 0.3, dtype: torch.dtype = torch.float32) -> Addition:
    torch.manual_seed(1)
    x, residual = (torch.randn(tokens, width).to(dtype) for _ in range(2))
    bias, gamma, beta = (torch.randn(width) for _ in range(3))
    return Addition(x, bias, residual, gamma, beta, 1e-6, p, 7)


def kept_of(a: Addition) -> Tensor:
    """What dropout keeps, read off its gradient: 1 / (1 - p) where it does."""
    moments = between.add_norm(a)[1]
    found = between.add_norm_backward(a, moments, torch.randn(a.x.shape).to(a.x.dtype), None)
    return (found.x != 0) / (1 - a.dropout)


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(1, 16), (37, 48), (200, 384)])
def test_sum_and_norm_have_the_gradient_of_the_mask_that_was_drawn(p: float, shape: tuple[int, int]) -> None:
    a = addition_of(*shape, p=p)
    kept = kept_of(a).double() if p else torch.ones(shape, dtype=torch.float64)
    inputs = [x.double().requires_grad_() for x in (a.x, a.residual, a.bias, a.gamma, a.beta)]
    x, residual, bias, gamma, beta = inputs
    exact = F.layer_norm(residual + kept * (x + bias), shape[1:], gamma, beta, a.epsilon)
    out, moments = between.add_norm(a)
    torch.testing.assert_close(out.double(), exact, rtol=1e-5, atol=1e-5)
    ways = torch.randn(2, *shape)
    theirs = torch.autograd.grad(exact, inputs, ways.sum(0).double())
    for mine, other in zip(between.add_norm_backward(a, moments, *ways), theirs, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-4, atol=1e-4)


def test_dropout_keeps_its_share_of_every_row_and_column_and_other_seeds_other_numbers() -> None:
    a = addition_of(1000, 384, p=0.1)
    kept = kept_of(a) != 0
    assert abs(float(kept.float().mean()) - 0.9) < 0.002
    for axis, count in ((0, 1000), (1, 384)):
        assert float((kept.float().mean(axis) - 0.9).abs().max()) < 6 * (0.09 / count) ** 0.5
    other = kept_of(a._replace(seed=8)) != 0
    assert abs(float((kept & other).float().mean()) - 0.81) < 0.003
    assert abs(float((kept[1:] & kept[:-1]).float().mean()) - 0.81) < 0.003


@pytest.mark.parametrize("kind", ["gelu", "gelu_tanh", "relu"])
def test_bias_and_activation_have_their_gradients(kind: str) -> None:
    torch.manual_seed(0)
    functions = {"gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": torch.relu}
    x, bias, gradient = torch.randn(37, 48), torch.randn(48), torch.randn(37, 48)
    exact = [t.double().requires_grad_() for t in (x, bias)]
    out = functions[kind](exact[0] + exact[1])
    torch.testing.assert_close(between.bias_activation(x, bias, kind).double(), out, rtol=1e-5, atol=1e-6)
    theirs = torch.autograd.grad(out, exact, gradient.double())
    ours = between.bias_activation_backward(x, bias, kind, gradient.clone())
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(between.sum_tokens(x), x.sum(0), rtol=1e-5, atol=1e-5)


def test_a_nan_is_not_swallowed() -> None:
    a = addition_of()
    a.x[3, 5] = torch.nan
    out, _ = between.add_norm(a._replace(dropout=0.0))
    assert out[3].isnan().all() and not out[[0, 4]].isnan().any()


def test_frozen_parameters_get_no_gradient_and_the_others_theirs() -> None:
    model, batch = model_of(), batch_of(LENGTHS)
    frozen = ("embeddings", "layer.0", "layer.1.attention.self.key.weight", "layer.1.output.dense.bias")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in name for part in frozen))
    packed = results_of(model, batch)
    packing.fuse_layers(model)
    assert_close(results_of(model, batch), packed)


def test_weights_changed_between_forward_and_backward_are_refused() -> None:
    model, batch = model_of(), batch_of(LENGTHS)
    packing.fuse_layers(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch).logits.float().sum()
    with torch.no_grad():
        model.bert.encoder.layer[0].attention.self.key.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_gradient_that_lies_otherwise_in_memory_is_the_same() -> None:
    parts = [torch.randn(9, 2, 16) for _ in range(3)]
    lying = torch.stack(parts, 1).unbind(1)
    joined = blocks._side_by_side(tuple(lying))
    assert joined.data_ptr() == lying[0].data_ptr()
    for apart in (parts, lying[::-1], [*lying[:2], parts[2]]):
        assert torch.equal(blocks._side_by_side(tuple(apart)), torch.cat([x.flatten(1) for x in apart], 1))


class Louder(BertSelfAttention):
    def forward(self, *given: Any, **named: Any) -> Any:
        out, weights = super().forward(*given, **named)
        return 2 * out, weights


def adapt(layer: Any) -> None:
    layer.attention.self.query = nn.Sequential(layer.attention.self.query, nn.Linear(32, 32))


def watch(layer: Any) -> None:
    layer.output.dense.register_forward_hook(lambda _, __, out: 2 * out)


def replace_a_method(layer: Any) -> None:
    forward = layer.intermediate.forward
    layer.intermediate.forward = lambda hidden_states: 2 * forward(hidden_states)


def use_tanh(layer: Any) -> None:
    layer.intermediate.intermediate_act_fn = nn.Tanh()


def leave_out_a_bias(layer: Any) -> None:
    layer.intermediate.dense = nn.Linear(32, 64, bias=False)


def drop_all(layer: Any) -> None:
    layer.output.dropout.p = 1.0


def use_other_sizes(layer: Any) -> None:
    layer.intermediate.dense, layer.output.dense = nn.Linear(32, 40), nn.Linear(40, 32)


def use_other_attention(layer: Any) -> None:
    layer.attention.self.__class__ = Louder


def cut_into_chunks(layer: Any) -> None:
    layer.chunk_size_feed_forward = 8


CHANGES = [
    *(adapt, watch, replace_a_method, use_tanh, leave_out_a_bias, drop_all, use_other_sizes, use_other_attention),
    cut_into_chunks,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_layer_that_is_not_plain_runs_as_it_is(change: Callable[[Any], None], runs: list[int]) -> None:
    model, batch = model_of(), batch_of([8, 8])
    change(model.bert.encoder.layer[0])
    packed = results_of(model, batch)
    packing.fuse_layers(model)
    assert_close(results_of(model, batch), packed)
    assert len(runs) == 1  # the other layer


def test_hidden_states_come_out_and_the_next_step_is_fused_all_the_same(runs: list[int]) -> None:
    model, batch = model_of().bert, batch_of(LENGTHS)
    packed = model(**batch, output_hidden_states=True).hidden_states
    packing.fuse_layers(model)
    real = batch["attention_mask"].bool()
    for ours, theirs in zip(model(**batch, output_hidden_states=True).hidden_states, packed, strict=True):
        torch.testing.assert_close(ours[real], theirs[real], rtol=0, atol=1e-5)
    model(**batch)
    assert len(runs) == 4


def test_a_model_is_quickened_copied_and_made_plain_again(runs: list[int]) -> None:
    torch.manual_seed(0)
    model = hf.BertForTokenClassification(hf.BertConfig(**SIZES)).eval()
    batch, names, classes = batch_of(LENGTHS), list(model.state_dict()), [type(module) for module in model.modules()]
    before, real = model(**batch).logits, batch["attention_mask"].bool()
    fit.quicken(model)
    fit.quicken(model)
    twin = copy.deepcopy(model)
    assert list(model.state_dict()) == names
    for fused in (model, twin):
        torch.testing.assert_close(fused(**batch).logits[real], before[real], rtol=0, atol=1e-5)
    assert len(runs) == 4
    fit.plain(model)
    assert [type(module) for module in model.modules()] == classes
    assert torch.equal(model(**batch).logits, before)
    assert len(runs) == 4


def test_without_the_library_layers_run_as_they_are(monkeypatch: pytest.MonkeyPatch, runs: list[int]) -> None:
    model, batch = model_of(), batch_of(LENGTHS)
    packed = results_of(model, batch)
    packing.fuse_layers(model)
    monkeypatch.setattr(native.calls, "library", lambda: None)
    assert_close(results_of(model, batch), packed)
    assert not runs
