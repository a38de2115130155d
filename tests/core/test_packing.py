"""Packed equals padded, in outputs and gradients, for every family of the table and its heads."""

import copy
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.backends.debugging import aot_eager

from lathe.core import activations, compilation, packing, tables
from lathe.core.compilation import compiled_layers
from lathe.core.packing import varlen
from lathe.core.packing.dropout import dropout
from lathe.core.packing.geometry import Geometry, coarse
from lathe.core.recompute import recompute_layers
from lathe.models.transformer import DecoderConfig, EncoderConfig, EncoderDecoderConfig

LENGTHS = [5, 17, 1, 11, 24, 9]
DECODER_LENGTHS = [4, 2, 9, 12, 1, 7]
VOCABULARY, WIDTH, HEADS, LAYERS, INNER = 97, 32, 4, 2, 64

COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
GROUPED: dict[str, Any] = COMMON | {"num_key_value_heads": 2}
WINDOWED: dict[str, Any] = GROUPED | {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
BART: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": INNER,
    "decoder_ffn_dim": INNER,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
CONFIGS: dict[str, Callable[[], hf.PreTrainedConfig]] = {
    "albert": lambda: hf.AlbertConfig(**COMMON, embedding_size=16),
    "bart": lambda: hf.BartConfig(**BART),
    "bert": lambda: hf.BertConfig(**COMMON),
    "camembert": lambda: hf.CamembertConfig(**COMMON),
    "distilbert": lambda: hf.DistilBertConfig(
        vocab_size=VOCABULARY, dim=WIDTH, n_layers=LAYERS, n_heads=HEADS, hidden_dim=INNER, pad_token_id=1
    ),
    "electra": lambda: hf.ElectraConfig(**COMMON, embedding_size=16),
    "ernie": lambda: hf.ErnieConfig(**COMMON),
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=80,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    ),
    "lathe-decoder": lambda: DecoderConfig(
        **GROUPED, position_embedding_type="rotary", hidden_act="swiglu", norm_position="pre", normalization="rms"
    ),
    "lathe-encoder": lambda: EncoderConfig(**COMMON),
    "lathe-encoder-decoder": lambda: EncoderDecoderConfig(
        **GROUPED, num_decoder_layers=LAYERS, decoder_start_token_id=2, position_embedding_type="learned"
    ),
    "llama": lambda: hf.LlamaConfig(**GROUPED),
    "mbart": lambda: hf.MBartConfig(**BART),
    "mistral": lambda: hf.MistralConfig(**GROUPED, sliding_window=6),
    "modernbert": lambda: hf.ModernBertConfig(
        **COMMON, cls_token_id=0, sep_token_id=2, global_attn_every_n_layers=2, local_attention=8
    ),
    "qwen2": lambda: hf.Qwen2Config(**WINDOWED),
    "qwen3": lambda: hf.Qwen3Config(**WINDOWED, head_dim=8),
    "roberta": lambda: hf.RobertaConfig(**COMMON),
    "t5": lambda: hf.T5Config(
        vocab_size=VOCABULARY, d_model=WIDTH, d_kv=8, d_ff=INNER, num_layers=LAYERS, num_heads=HEADS,
        pad_token_id=1, decoder_start_token_id=1, eos_token_id=2,
    ),
    "xlm-roberta": lambda: hf.XLMRobertaConfig(**COMMON),
    "deberta-v2": lambda: hf.DebertaV2Config(**COMMON, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "xlnet": lambda: hf.XLNetConfig(
        vocab_size=VOCABULARY, d_model=WIDTH, n_layer=LAYERS, n_head=HEADS, d_inner=INNER, pad_token_id=1
    ),
}  # fmt: skip
HEADS_BY_NAME: dict[str, Any] = {
    "seq2seq": hf.AutoModelForSeq2SeqLM,
    "base": hf.AutoModel,
    "pair": hf.AutoModel,  # an encoder and a decoder
    "sequence": hf.AutoModelForSequenceClassification,
    "token": hf.AutoModelForTokenClassification,
    "answer": hf.AutoModelForQuestionAnswering,
    "masked": hf.AutoModelForMaskedLM,
    "choice": hf.AutoModelForMultipleChoice,
    "causal": hf.AutoModelForCausalLM,
}
DECODERS = ("gpt2", "lathe-decoder", "llama", "mistral", "qwen2", "qwen3")
ENCODER_DECODERS = ("bart", "lathe-encoder-decoder", "mbart", "t5")


def heads_of(family: str) -> list[str]:
    """Every head that transformers has for the family, its most usual one first."""
    config = type(CONFIGS[family]())
    classes = {head: auto._model_mapping[config] for head, auto in HEADS_BY_NAME.items()
               if config in auto._model_mapping}  # fmt: skip
    classes.pop("base" if family in ENCODER_DECODERS else "pair")
    same = {"masked"} if "seq2seq" in classes else set()  # one class under two names
    return [head for head in classes if head not in same]


PACKED = [family for family, reason in packing.FAMILIES.items() if reason is None]
CASES = [(family, head) for family in PACKED for head in heads_of(family)]
KINDS = ["bert", "albert", "modernbert", "gpt2", "qwen3", "bart", "t5"]  # one of each way to be built
LANGUAGE_MODELS = [(f, h) for f, h in CASES if h in ("masked", "causal", "seq2seq")]


def model_of(family: str, head: str, p: float = 0.0, layers: int = LAYERS) -> Any:
    torch.manual_seed(0)
    config = CONFIGS[family]()
    config.num_hidden_layers = layers
    config.num_labels = 2 if head == "answer" else 3
    if head == "causal" and family not in DECODERS:
        config.is_decoder = True
    model = HEADS_BY_NAME[head].from_config(config).train()
    for module in model.modules():
        for name in ("dropout", "dropout_prob", "attention_dropout", "activation_dropout", "attn_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, p)
        if isinstance(module, nn.Dropout):
            module.p = p
    return model


def mask_of(lengths: list[int], side: str = "right") -> Tensor:
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return (mask if side == "right" else mask.flip(1)).long()


def batch_of(head: str, mask: Tensor | None = None) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    mask = mask_of(LENGTHS) if mask is None else mask
    ids = torch.randint(4, VOCABULARY, mask.shape, generator=generator)
    last = (mask * torch.arange(mask.shape[1])).argmax(1)
    ids[torch.arange(len(ids)), last] = 2  # one end of sequence a row: BART and T5 classify there
    batch = {"input_ids": torch.where(mask.bool(), ids, 1), "attention_mask": mask}
    if head == "choice":
        batch = {name: value.view(-1, 2, mask.shape[1]) for name, value in batch.items()}
    if head in ("seq2seq", "pair"):
        decoder_mask = mask_of(DECODER_LENGTHS)[: len(mask)]
        decoder_ids = torch.randint(4, VOCABULARY, decoder_mask.shape, generator=generator)
        batch |= {
            "decoder_input_ids": torch.where(decoder_mask.bool(), decoder_ids, 1),
            "decoder_attention_mask": decoder_mask,
        }
    return batch


def outputs_of(head: str, out: Any, batch: dict[str, Tensor]) -> list[Tensor]:
    """What of the output counts: everything but padding."""
    real = batch.get("decoder_attention_mask", batch["attention_mask"]).bool()
    if head in ("sequence", "choice"):
        return [out.logits]
    if head == "answer":
        return [out.start_logits[real], out.end_logits[real]]
    if head == "pair":
        return [out.last_hidden_state[real], out.encoder_last_hidden_state[batch["attention_mask"].bool()]]
    if head == "base":
        pooled = getattr(out, "pooler_output", None)
        return [out.last_hidden_state[real]] + ([] if pooled is None else [pooled])
    return [out.logits[real]]


def run(model: Any, head: str, batch: dict[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
    model.zero_grad(set_to_none=True)
    outputs = outputs_of(head, model(**batch), batch)
    generator = torch.Generator().manual_seed(11)
    sum((o.float() * torch.randn(o.shape, generator=generator)).sum() for o in outputs).backward()  # type: ignore
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return [o.detach() for o in outputs], gradients


def assert_packed_equals_padded(model: Any, head: str, batch: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    padded = run(model, head, batch)
    assert packing.enable(model) is None
    packed = run(model, head, batch)
    for a, b in zip(padded[0], packed[0], strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance
    assert padded[1].keys() == packed[1].keys()
    for name, gradient in padded[1].items():
        size = max(gradient.abs().max(), 1e-2)  # where the exact gradient is zero, both are rounding
        assert (gradient - packed[1][name]).abs().max() <= tolerance * size, name


@pytest.mark.parametrize(("family", "head"), CASES)
def test_packed_equals_padded_in_outputs_and_gradients(family: str, head: str) -> None:
    assert_packed_equals_padded(model_of(family, head), head, batch_of(head))


def own_mask(lengths: list[int], prefix: int) -> Tensor:
    """A mask of the caller's own, [B, 1, T, T]: causal behind a prefix whose tokens all see one another."""
    real = mask_of(lengths).bool()
    column = torch.arange(real.shape[1])
    return ((column <= column[:, None]) | (column < prefix))[None, None] & real[:, None, None]


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen2", "qwen3"])
def test_a_mask_of_the_caller_s_own_runs_packed_and_equals_padded(family: str) -> None:
    model, real = model_of(family, "causal"), mask_of(LENGTHS).bool()
    batch = batch_of("causal") | {"attention_mask": own_mask(LENGTHS, prefix=4)}

    def outcome() -> tuple[Tensor, list[Tensor]]:
        model.zero_grad(set_to_none=True)
        logits = model(**batch).logits[real]
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        return logits.detach(), [p.grad.clone() for p in model.parameters()]

    logits, gradients = outcome()
    packing.enable(model)
    widths = []
    for _, layers in packing.stacks(model):
        layers[-1].mlp.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[:2]))
    packed_logits, packed_gradients = outcome()
    assert widths == [(1, Geometry(real).size)]
    torch.testing.assert_close(packed_logits, logits, rtol=0, atol=1e-5)
    for one, other in zip(packed_gradients, gradients, strict=True):
        assert (one - other).abs().max() <= 1e-5 * max(float(other.abs().max()), 1e-2)


def test_a_mask_under_which_a_token_does_not_see_itself_runs_padded() -> None:
    model, real = model_of("gpt2", "causal").eval(), mask_of(LENGTHS).bool()
    mask = own_mask(LENGTHS, prefix=4)
    mask[:, 0, 5, 5] = False
    batch = batch_of("causal") | {"attention_mask": mask}
    before = model(**batch).logits[real]
    packing.enable(model)
    torch.testing.assert_close(model(**batch).logits[real], before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", PACKED)
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_packed_equals_padded_on_chinese_text_of_any_lengths(family: str, tokenizer: Any, data: st.DataObject) -> None:
    """One character a token: rows of 1 to 33 tokens, one-token rows among them."""
    head = next(h for h in heads_of(family) if h in ("seq2seq", "token", "causal"))
    texts = data.draw(st.lists(st.text("好坏影片很不北京", min_size=1, max_size=33), min_size=1, max_size=4))
    encoded = tokenizer([*texts, "很好", "好"], add_special_tokens=False, padding=True, return_tensors="pt")
    assert int(encoded["attention_mask"][-1].sum()) == 1 and tokenizer.unk_token_id not in encoded["input_ids"]
    batch = batch_of(head, encoded["attention_mask"])
    batch["input_ids"] = encoded["input_ids"]
    assert_packed_equals_padded(model_of(family, head), head, batch)


@pytest.mark.parametrize(("family", "head"), CASES)
def test_a_word_table_that_keeps_its_gradient_changes_nothing(
    family: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SMALLEST", 1)
    plain, kept = (model_of(family, head) for _ in range(2))
    tables.keep_gradients(kept)
    for seed in range(3):  # what one step leaves behind would show in the next
        batch = batch_of(head)
        batch["input_ids"] = torch.where(
            batch["input_ids"] > 3, (batch["input_ids"] + 7 * seed) % 50 + 4, batch["input_ids"]
        )
        gradients = [run(model, head, batch)[1] for model in (plain, kept)]
        assert gradients[0].keys() == gradients[1].keys()
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-6)
        norms = [tables.norm(model) for model in (plain, kept)]
        assert norms[0] == pytest.approx(norms[1], rel=1e-5)


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_holes_and_left_padding_change_nothing(family: str, side: str) -> None:
    head = heads_of(family)[0]
    mask = mask_of(LENGTHS, side)
    mask[4, 10] = 0
    mask[1, 12:15] = 0
    assert_packed_equals_padded(model_of(family, head), head, batch_of(head, mask))


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("lengths", [[7], [7, 7, 7], [8], [2, 1]], ids=str)
def test_batches_without_padding_and_single_rows_change_nothing(family: str, lengths: list[int]) -> None:
    head = heads_of(family)[0]
    assert_packed_equals_padded(model_of(family, head), head, batch_of(head, mask_of(lengths)))


@pytest.mark.parametrize("family", KINDS)
def test_a_batch_of_one_token_rows_changes_no_output(family: str) -> None:
    head = heads_of(family)[0]
    model, batch = model_of(family, head), batch_of(head, mask_of([1, 1]))
    padded = run(model, head, batch)
    packing.enable(model)
    packed = run(model, head, batch)
    assert all((a - b).abs().max() <= 1e-5 for a, b in zip(padded[0], packed[0], strict=True))
    assert padded[1].keys() == packed[1].keys()  # values: the padded ones of queries are rounding, the packed ones 0


@pytest.mark.parametrize("length", [60, 61, 64])
def test_a_single_row_with_padding_changes_nothing(length: int) -> None:
    mask = torch.zeros(1, 64, dtype=torch.long)
    mask[:, :length] = 1
    assert_packed_equals_padded(model_of("bert", "token"), "token", batch_of("token", mask))


RECOMPUTED = [(family, True) for family in PACKED if family != "albert"]  # which cannot do it
RECOMPUTED += [(family, False) for family in ("bert", "llama", "t5", "deberta-v2")]


@pytest.mark.parametrize(("family", "packed"), RECOMPUTED)
def test_layers_that_run_again_in_the_backward_pass_change_no_bit(family: str, packed: bool) -> None:
    """With dropout: the layer that runs again draws the same masks."""
    head = heads_of(family)[0]
    model, batch = model_of(family, head, p=0.2), batch_of(head)
    for module in model.modules():
        if hasattr(module, "config"):
            module.config.use_cache = False  # layers that run again have none; products of its copies round otherwise
    packing.fast_dropout(model)
    if packed:
        assert packing.enable(model) is None
    results = []
    for setup in (lambda _: None, recompute_layers):
        setup(model)
        torch.manual_seed(5)
        results.append(run(model, head, batch))
    torch.manual_seed(6)
    other = run(model, head, batch)[0]
    for a, b, c in zip(results[0][0], results[1][0], other, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    assert results[0][1].keys() == results[1][1].keys()
    for name, gradient in results[0][1].items():
        assert torch.equal(gradient, results[1][1][name]), name


@pytest.mark.parametrize("family", ["bert", "gpt2", "bart"])
def test_layers_that_run_again_change_no_bit_in_bfloat16(family: str) -> None:
    head = heads_of(family)[0]
    model, batch = model_of(family, head, p=0.2), batch_of(head)
    packing.fast_dropout(model)
    packing.enable(model)
    results = []
    for setup in (lambda _: None, recompute_layers):
        setup(model)
        torch.manual_seed(5)
        with torch.autocast("cpu", torch.bfloat16):
            out = outputs_of(head, model(**batch), batch)[0]
        model.zero_grad()
        out.float().square().sum().backward()  # outside of autocast, as in training
        results.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize(("family", "head"), [("bert", "base"), ("gpt2", "causal"), ("modernbert", "token")])
def test_hidden_states_come_out_padded(family: str, head: str) -> None:
    model, batch = model_of(family, head), batch_of(head)
    padded = model(**batch, output_hidden_states=True).hidden_states
    packing.enable(model)
    packed = model(**batch, output_hidden_states=True).hidden_states
    real = batch["attention_mask"].bool()
    for a, b in zip(padded, packed, strict=True):
        assert a.shape == b.shape
        assert (a[real] - b[real]).abs().max() <= 1e-5


def test_hidden_states_of_encoder_and_decoder_come_out_padded() -> None:
    for family in ENCODER_DECODERS:
        model, batch = model_of(family, "seq2seq"), batch_of("seq2seq")
        packing.enable(model)
        out = model(**batch, output_hidden_states=True)
        assert {h.shape for h in out.encoder_hidden_states} == {(6, 24, WIDTH)}
        assert {h.shape for h in out.decoder_hidden_states} == {(6, 12, WIDTH)}


@pytest.mark.parametrize("family", PACKED)
def test_rows_of_a_pack_do_not_see_one_another(family: str) -> None:
    head = heads_of(family)[0]
    model, batch = model_of(family, head).eval(), batch_of(head)
    packing.enable(model)
    other = {name: value.clone() for name, value in batch.items()}
    other["input_ids"][1, :-8] = 50
    with torch.inference_mode():
        before, after = model(**batch)[0], model(**other)[0]
    rest = [0, 2, 3, 4, 5]
    assert torch.equal(before[rest], after[rest])
    assert not torch.equal(before[1], after[1])


@pytest.mark.parametrize("family", ["bert", "llama", "bart", "t5"])
def test_a_row_of_padding_is_finite_and_changes_no_other(family: str) -> None:
    head = heads_of(family)[0]
    mask = mask_of(LENGTHS)
    model, batch = model_of(family, head), batch_of(head)
    packing.enable(model)
    whole = model(**batch)[0]
    batch["attention_mask"] = mask * (torch.arange(6) != 2)[:, None]
    out = model(**batch)[0]
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    rest = [0, 1, 3, 4, 5]
    assert (out[rest] - whole[rest])[mask[rest].bool() if head != "seq2seq" else ...].abs().max() <= 1e-5


def test_a_batch_of_nothing_but_padding_runs_padded() -> None:
    model, batch = model_of("bert", "base"), batch_of("base")
    batch["attention_mask"] = torch.zeros_like(batch["attention_mask"])
    padded = model(**batch).last_hidden_state
    packing.enable(model)
    assert torch.equal(model(**batch).last_hidden_state, padded)


@pytest.mark.parametrize(("family", "head"), [("bert", "sequence"), ("llama", "causal"), ("bart", "seq2seq")])
def test_bfloat16_autocast_stays_within_its_rounding(family: str, head: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        model, batch = model_of(family, head), batch_of(head)
        padded = run(model, head, batch)[0]
        packing.enable(model)
        packed, gradients = run(model, head, batch)
    assert all((a - b).abs().max() <= 1e-2 for a, b in zip(padded, packed, strict=True))
    assert all(torch.isfinite(g).all() for g in gradients.values())


def test_a_copy_of_a_packed_model_is_packed_on_its_own() -> None:
    model, batch = model_of("bert", "base"), batch_of("base")
    padded = model(**batch).last_hidden_state
    packing.enable(model)
    twin = copy.deepcopy(model)
    packing.disable(twin)
    assert torch.equal(twin(**batch).last_hidden_state, padded)
    assert model.config._attn_implementation != twin.config._attn_implementation
    assert any(module._forward_pre_hooks for module in model.modules())
    assert not any(module._forward_pre_hooks for module in twin.modules())


@pytest.mark.parametrize("family", KINDS)
def test_enabling_twice_and_disabling_leaves_the_model_as_it_was(family: str) -> None:
    head = heads_of(family)[0]
    model, batch = model_of(family, head), batch_of(head)
    keys, before = list(model.state_dict()), run(model, head, batch)[0]
    packing.enable(model)
    packing.enable(model)
    assert list(model.state_dict()) == keys
    packing.disable(model)
    assert all(torch.equal(a, b) for a, b in zip(before, run(model, head, batch)[0], strict=True))
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("family", ["gpt2", "qwen3", "bart", "t5"])
def test_generation_with_a_cache_is_the_same(family: str) -> None:
    model = model_of(family, "causal" if family in DECODERS else "seq2seq").eval()
    side = "left" if family in DECODERS else "right"
    batch = batch_of("causal", mask_of(LENGTHS, side))
    padded = model.generate(**batch, max_new_tokens=4, do_sample=False)
    packing.enable(model)
    assert torch.equal(model.generate(**batch, max_new_tokens=4, do_sample=False), padded)


def varlen_reference(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int,
    *, scale: float | None = None, window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """torch.nn.attention.varlen.varlen_attn row by row, from its documentation."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert query.shape[0] == cu_seq_q[-1] and key.shape[0] == value.shape[0] == cu_seq_k[-1]
    assert max_q == cu_seq_q.diff().max() and max_k == cu_seq_k.diff().max()
    assert enable_gqa == (query.shape[1] != key.shape[1])
    out = []
    for (q0, q1), (k0, k1) in zip(cu_seq_q.unfold(0, 2, 1), cu_seq_k.unfold(0, 2, 1), strict=True):
        q, k, v = query[q0:q1].transpose(0, 1), key[k0:k1].transpose(0, 1), value[k0:k1].transpose(0, 1)
        distance = torch.arange(q.shape[1])[:, None] + k.shape[1] - q.shape[1] - torch.arange(k.shape[1])
        left, right = (side if side >= 0 else 10**6 for side in window_size)
        mask = (distance <= left) & (distance >= -right)
        row = nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=enable_gqa)
        out.append(row.transpose(0, 1))
    return torch.cat(out)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Packed attention goes through the reference in place of the kernel for GPUs; the windows it was asked for."""
    windows: list[tuple[int, int]] = []

    def watched(*tensors: Any, **options: Any) -> Tensor:
        windows.append(options["window_size"])
        return varlen_reference(*tensors, **options)

    monkeypatch.setattr(varlen, "takes", lambda *asked: asked[2] is None and asked[3] == 0)
    monkeypatch.setattr(varlen, "varlen_attn", watched)
    return windows


CROSS = (-1, -1)
WINDOWS = {
    "modernbert": {(4, 4), (-1, -1)},
    "mistral": {(5, 0)},
    "qwen2": {(5, 0), (-1, 0)},
    "qwen3": {(5, 0), (-1, 0)},
}


@pytest.mark.parametrize(("family", "head"), CASES)
def test_the_kernel_for_gpus_is_asked_for_the_same_attention(
    family: str, head: str, kernel: list[tuple[int, int]]
) -> None:
    assert_packed_equals_padded(model_of(family, head), head, batch_of(head))
    causal = family in DECODERS or head == "causal"
    expected = WINDOWS.get(family, {(-1, 0)} if causal else {(-1, -1)})
    if family in ENCODER_DECODERS and head in ("seq2seq", "pair", "sequence", "answer"):
        expected = {CROSS, (-1, 0)}
    if family == "t5":  # the others of its attentions have a bias by position
        expected = set() if head == "token" else {CROSS}
    assert set(kernel) == expected


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_the_kernel_for_gpus_with_holes_and_left_padding(family: str, side: str, kernel: list[tuple[int, int]]) -> None:
    head = heads_of(family)[0]
    mask = mask_of(LENGTHS, side)
    mask[4, 10] = 0
    assert_packed_equals_padded(model_of(family, head), head, batch_of(head, mask))
    assert all(window in ((-1, -1), (-1, 0)) for window in kernel)  # one of a window counts positions, not tokens


def test_a_mask_that_is_no_band_or_differs_by_row_is_not_for_the_kernel() -> None:
    rows = Geometry(mask_of([5, 8, 3]).bool())

    def window_of(may_attend: Any) -> tuple[int, int] | None:
        found = varlen.sequences(rows, rows, lambda *index: may_attend(*index[2:]), torch.device("cpu"))
        return None if found is None else found.window

    assert window_of(lambda q, k: (k <= q) & (k > q - 3)) == (2, 0)
    assert window_of(lambda q, k: (q - k).abs() <= 2) == (2, 2)
    assert window_of(lambda q, k: k >= q) == (0, -1)
    assert window_of(lambda q, k: (k <= q) | (k < 2)) is None
    assert window_of(lambda q, k: (k <= q) & (q - k != 1)) is None
    assert varlen.sequences(rows, rows, lambda *index: index[3] >= index[0], torch.device("cpu")) is None
    empty = Geometry(mask_of([5, 0, 3]).bool())
    assert varlen.sequences(empty, rows, None, torch.device("cpu")) is None
    assert varlen.sequences(empty, empty, None, torch.device("cpu")).query_offsets.tolist() == [0, 5, 8]  # type: ignore


def test_dropout_and_processors_are_not_for_the_kernel() -> None:
    x = torch.zeros(1, 2, 8, 16, dtype=torch.bfloat16)
    assert not varlen.takes(x, x, None, 0.0)
    assert varlen.IS_HERE or tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("family", "head"), CASES)
def test_on_a_gpu_packed_bfloat16_is_as_near_to_float32_as_padded(
    family: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed and padded round differently: neither may be further from padded float32 than the other by much."""
    calls, attend = [], varlen.attend
    monkeypatch.setattr(varlen, "attend", lambda *arguments: calls.append(1) or attend(*arguments))
    model = model_of(family, head).cuda()
    batch = {name: value.cuda() for name, value in batch_of(head).items()}
    generator = torch.Generator("cuda").manual_seed(0)

    def values() -> list[Tensor]:
        model.zero_grad(set_to_none=True)
        outputs = outputs_of(head, model(**batch), batch)
        generator.manual_seed(0)
        sum((o.float() * torch.randn(o.shape, generator=generator, device="cuda")).sum() for o in outputs).backward()  # type: ignore
        return [o.detach().float() for o in outputs] + [p.grad for p in model.parameters() if p.grad is not None]

    exact = values()
    with torch.autocast("cuda", torch.bfloat16):
        padded = values()
    assert packing.enable(model) is None
    packed_exact = values()
    with torch.autocast("cuda", torch.bfloat16):
        packed = values()
    for e, p, q, r in zip(exact, padded, packed, packed_exact, strict=True):
        size = max(float(e.abs().max()), 1e-2)
        assert (r - e).abs().max() <= 1e-4 * size
        assert (q - e).norm() <= 2 * (p - e).norm() + 2e-2 * size * math.sqrt(e.numel())
    assert bool(calls) == ((family, head) != ("t5", "token"))


SIZES = (LENGTHS, [3, 8, 30, 2, 7, 31], [9] * 6, [22, 3], [22, 3, 4, 5, 6, 60])


@dataclass
class Counting:
    """A backend of torch.compile that counts graphs, and calls of what has become of them."""

    graphs: int = 0
    calls: int = 0

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        made = aot_eager(graph, inputs)
        self.graphs += 1

        def call(*arguments: Any) -> Any:
            self.calls += 1
            return made(*arguments)

        return call


def assert_compiled_equals_uncompiled(model: Any, head: str) -> Iterator[None]:
    """With dropout; yields after every batch, the first one being that for which code is made."""
    batches = [batch_of(head, mask_of(lengths)) for lengths in SIZES]

    def seeded(batch: dict[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        torch.manual_seed(5)
        return run(model, head, batch)

    expected = [seeded(batch) for batch in batches]
    with compiled_layers(model, lambda: seeded(batches[0]) and None):
        for batch, (outputs, gradients) in zip(batches, expected, strict=True):
            compiled = seeded(batch)
            for a, b in zip(outputs, compiled[0], strict=True):
                torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)
            assert compiled[1].keys() == gradients.keys()
            for name, gradient in gradients.items():
                size = max(float(gradient.abs().max()), 1e-2)
                assert (compiled[1][name] - gradient).abs().max() <= 1e-5 * size, name
            yield


@pytest.mark.parametrize(
    ("family", "packed"),
    [(family, True) for family in ("bert", "gpt2", "llama")]
    + [pytest.param(family, True, marks=pytest.mark.slow) for family in ("modernbert", "t5", "albert", "bart", "qwen3")]
    + [pytest.param(family, False, marks=pytest.mark.slow) for family in ("gpt2", "deberta-v2")],
)
def test_layers_compiled_for_one_batch_compute_the_same_on_every_other(
    family: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = heads_of(family)[0]
    model, backend = model_of(family, head, p=0.2, layers=2 if family == "bert" else 1), Counting()
    monkeypatch.setattr(compilation, "BACKEND", backend)
    packing.fast_dropout(model)
    activations.fuse(model)
    if packed:
        assert packing.enable(model) is None
    seen = []
    for _ in assert_compiled_equals_uncompiled(model, head):
        seen.append((backend.graphs, backend.calls))
    graphs, calls = zip(*seen, strict=True)
    assert 0 < graphs[0] == graphs[-1] <= 16, "code is made again for another batch"
    assert len({later - sooner for sooner, later in pairwise(calls)}) == 1, "some batch did not run compiled"
    assert calls[1] > calls[0]
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "modernbert", "t5"])
def test_layers_that_inductor_compiled_compute_the_same(family: str) -> None:
    head = heads_of(family)[0]
    model = model_of(family, head, p=0.2)
    packing.fast_dropout(model)
    activations.fuse(model)
    packing.enable(model)
    assert len(list(assert_compiled_equals_uncompiled(model, head))) == len(SIZES)


def test_no_cache_is_made_while_packed_and_the_configuration_is_left_alone() -> None:
    model, batch = model_of("gpt2", "causal"), batch_of("causal")
    packing.enable(model)
    assert model(**batch).past_key_values is None
    assert model.config.use_cache


@pytest.mark.parametrize("family", ["deberta-v2", "xlnet"])
def test_other_families_run_padded_and_say_why(family: str) -> None:
    model, batch = model_of(family, "base").eval(), batch_of("base")
    before = model(**batch).last_hidden_state
    assert family in str(packing.enable(model))
    assert torch.equal(model(**batch).last_hidden_state, before)


def test_the_documentation_names_every_family_and_how_it_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "families.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")][1:]  # below the head of the table
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    assert {name: None if how == "packed" else why for name, how, why in rows} == dict(packing.FAMILIES)


def test_an_unknown_family_runs_padded_and_says_that_it_is_not_verified() -> None:
    model = model_of("bert", "base")
    model.config.model_type = "new"
    assert "not verified" in str(packing.enable(model))


@pytest.mark.parametrize(("family", "head"), [*LANGUAGE_MODELS, ("deberta-v2", "masked")])
def test_labelled_rows_are_the_same_rows_of_all_logits(family: str, head: str) -> None:
    model, batch = model_of(family, head), batch_of(head)
    packing.enable(model)
    index = torch.tensor([0, 24, 3])
    every = model(**batch).logits.flatten(0, 1)[index]
    with packing.labelled_rows(model, index):
        few = model(**batch).logits
    assert few.shape == (3, VOCABULARY)
    assert (few - every).abs().max() <= 1e-5
    gradients = [torch.autograd.grad(logits.square().sum(), list(model.parameters()), allow_unused=True)
                 for logits in (every, few)]  # fmt: skip
    for a, b in zip(*gradients, strict=True):
        assert a is b is None or (a - b).abs().max() <= 1e-5 * (a.abs().max() + 1e-3)
    assert model(**batch).logits.dim() == 3


def test_no_labelled_rows_give_no_logits() -> None:
    model, batch = model_of("bert", "masked"), batch_of("masked")
    with packing.labelled_rows(model, torch.tensor([], dtype=torch.long)):
        logits = model(**batch).logits
    assert logits.shape == (0, VOCABULARY)
    logits.sum().backward()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.0003])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dropout_drops_with_its_probability_and_keeps_the_expectation(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    count = 400_001
    x = torch.ones(count, dtype=dtype, requires_grad=True)
    y = dropout(x, p)
    dropped = int((y == 0).sum())
    assert abs(dropped - p * count) <= 4 * math.sqrt(count * p * (1 - p)) + count * 2**-17
    zero, kept = y.unique().tolist()
    assert zero == 0 and kept == pytest.approx(1 / (1 - p), rel=2**-8 if dtype is torch.bfloat16 else 2**-16)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # type: ignore[arg-type]


def test_dropout_draws_neighbours_independently() -> None:
    torch.manual_seed(0)
    kept = (dropout(torch.ones(400_000), 0.5) != 0).double() - 0.5
    for distance in (1, 2, 3, 4, 8, 768):
        assert (kept[distance:] * kept[:-distance]).mean().abs() <= 4 * 0.25 / math.sqrt(400_000)


def test_fast_dropout_depends_on_the_seed_and_can_be_undone() -> None:
    model = model_of("bert", "base", p=0.5)
    batch, keys = batch_of("base"), list(model.state_dict())
    packing.fast_dropout(model)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(copy.deepcopy(model)(**batch).last_hidden_state)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert list(model.state_dict()) == keys
    packing.torch_dropout(model)
    assert {type(m) for m in model.modules() if isinstance(m, nn.Dropout)} == {nn.Dropout}


def test_dropout_within_packed_attention_keeps_the_expectation() -> None:
    model, batch = model_of("bert", "base").eval(), batch_of("base")
    attention = model.encoder.layer[-1].attention.self
    contexts: list[Tensor] = []
    attention.register_forward_hook(lambda *call: contexts.append(call[2][0]))
    packing.enable(model)
    with torch.inference_mode():
        model(**batch)
        attention.dropout.p = 0.3
        attention.train()
        for _ in range(60):
            model(**batch)
    draws = torch.stack(contexts[1:])[:, 0, : sum(LENGTHS)]  # [draws, N, D]
    error = (draws.mean(0) - contexts[0][0, : sum(LENGTHS)]) / (draws.std(0) / math.sqrt(60) + 1e-6)
    assert error.abs().mean() < 1.0
    assert error.abs().max() < 6.0


def test_long_rows_compute_their_scores_again_and_get_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lathe.core.packing.attention.KEPT_SCORES", 0)
    assert_packed_equals_padded(model_of("t5", "seq2seq"), "seq2seq", batch_of("seq2seq"))


def test_attention_gradients_agree_with_finite_differences() -> None:
    model = model_of("bert", "base", p=0.0).double()
    packing.enable(model)
    batch = batch_of("base", mask_of([3, 1, 2]))
    embeddings = model.embeddings.word_embeddings(batch["input_ids"]).detach().requires_grad_()
    mask = batch["attention_mask"]
    assert torch.autograd.gradcheck(
        lambda x: model(inputs_embeds=x, attention_mask=mask).pooler_output, embeddings, fast_mode=True
    )


def test_geometry_keeps_every_token_and_few_sizes() -> None:
    geometry = Geometry(mask_of(LENGTHS).bool())
    x = torch.randn(6, 24, 3) * mask_of(LENGTHS)[..., None]
    assert torch.equal(geometry.pad(geometry.pack(x)), x)
    assert len({coarse(n, steps=16, smallest=8) for n in range(500, 2000)}) <= 34
    assert all(n <= coarse(n, steps=16, smallest=8) <= n * 1.07 + 8 for n in range(1, 5000))
