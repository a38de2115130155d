"""The Transformer equals PyTorch's and Hugging Face's blocks when it has their weights, with a cache and without."""

import math
from itertools import product
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask

from lathe.models.transformer import (
    Block,
    DecoderConfig,
    EncoderConfig,
    EncoderDecoderConfig,
    TransformerConfig,
    attention,
    rotated,
    rotations,
    sinusoids,
)
from lathe.models.transformer_heads import MODELS, last_token

SHAPE: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "dropout": 0.0,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
KINDS = [
    {
        "position_embedding_type": positions,
        "hidden_act": act,
        "norm_position": place,
        "normalization": kind,
        "num_key_value_heads": groups,
        "bias": kind == "layer",
    }
    for (positions, act), (place, kind), groups in zip(
        [("sinusoidal", "relu"), ("learned", "gelu"), ("rotary", "swiglu"), ("rotary", "gelu_new")],
        product(["post", "pre"], ["layer", "rms"]),
        [4, 2, 1, 2],
        strict=True,
    )
]
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])  # a row of 5 tokens and one of 3


def hidden(rows: int = 2, length: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(rows, length, 16, generator=torch.Generator().manual_seed(seed))


def block(config: TransformerConfig, sees_encoder: bool = False, is_causal: bool = False, kind: str = "eager") -> Block:
    config._attn_implementation = kind
    torch.manual_seed(0)
    return Block(config, 0, is_causal, sees_encoder).eval()


def give(target: nn.Module, **sources: Any) -> None:
    """Copy weights and biases: name of ours -> module of theirs, or (weight, bias)."""
    modules = dict(target.named_modules())
    with torch.no_grad():
        for name, source in sources.items():
            weight, bias = source if isinstance(source, tuple) else (source.weight, getattr(source, "bias", None))
            module = modules[name.replace("__", ".")]
            module.weight.copy_(weight)
            if bias is not None:
                module.bias.copy_(bias)


def give_projections(target: nn.Module, name: str, sources: list[Any]) -> None:
    give(
        target,
        **{
            f"{name}__{part}": source
            for part, source in zip(("q_proj", "k_proj", "v_proj", "o_proj"), sources, strict=True)
        },
    )


def give_torch_attention(target: nn.Module, name: str, source: nn.MultiheadAttention) -> None:
    parts = zip(source.in_proj_weight.chunk(3), source.in_proj_bias.chunk(3), strict=True)
    give_projections(target, name, [*parts, source.out_proj])


def equal(ours: Tensor, theirs: Tensor, mask: Tensor | None = None) -> None:
    where = slice(None) if mask is None else mask.bool()
    torch.testing.assert_close(ours[where], theirs[where], rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------------------ formulas
def test_attention_is_the_formula():
    q, k, v = (torch.randn(1, 1, n, 4, generator=torch.Generator().manual_seed(n)) for n in (3, 5, 5))
    v = torch.randn(1, 1, 5, 4)
    out, weights = attention(None, q, k, v, None, scaling=4**-0.5)
    expected = torch.softmax(q[0, 0] @ k[0, 0].T / math.sqrt(4), dim=1) @ v[0, 0]
    equal(out[0, :, 0], expected)
    equal(weights.sum(-1), torch.ones(1, 1, 3))


@pytest.mark.parametrize(
    "mask", [torch.tensor([[True, False], [False, False]]), torch.tensor([[0.0, -3e38], [-3e38, -3e38]])]
)
def test_a_query_that_sees_no_key_gets_zeros_and_finite_gradients(mask):
    q, k, v = (torch.randn(1, 1, 2, 4, requires_grad=True) for _ in range(3))
    out, weights = attention(None, q, k, v, mask[None, None], scaling=0.5)
    assert weights[0, 0].tolist() == [[1, 0], [0, 0]]
    assert out[0, 1].abs().max() == 0
    out.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in (q, k, v))


def test_positions_are_sines_and_cosines_of_geometric_frequencies():
    table = sinusoids(torch.arange(9), 6)
    expected = [[f(p / 10000 ** (2 * i / 6)) for i in range(3) for f in (math.sin, math.cos)] for p in range(9)]
    equal(table, torch.tensor(expected))


def test_rotation_leaves_lengths_alone_and_products_to_the_distance():
    x = torch.randn(1, 1, 1, 8).expand(1, 1, 9, 8)
    turned = rotated(x, *rotations(torch.arange(9)[None], 8, 10000.0))[0, 0]
    equal(turned.norm(dim=1), x[0, 0].norm(dim=1))
    products = turned @ turned.T
    for distance in range(1, 9):
        along = products.diagonal(distance)
        equal(along, along[:1].expand_as(along))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide a width of 16"):
        EncoderConfig(hidden_size=16, num_attention_heads=3)
    with pytest.raises(ValueError, match="3 key heads do not divide 4 heads"):
        EncoderConfig(hidden_size=16, num_attention_heads=4, num_key_value_heads=3)


# -------------------------------------------------------------------------------------------------------------- blocks
@pytest.mark.parametrize("act", ["relu", "gelu"])
@pytest.mark.parametrize("place", ["post", "pre"])
def test_an_encoder_block_is_torchs(place, act):
    torch.manual_seed(1)
    theirs = nn.TransformerEncoderLayer(16, 4, 24, 0.0, act, batch_first=True, norm_first=place == "pre").eval()
    ours = block(EncoderConfig(**SHAPE, hidden_act=act, norm_position=place))
    give_torch_attention(ours, "self_attention", theirs.self_attn)
    give(
        ours,
        feed_forward__up_proj=theirs.linear1,
        feed_forward__down_proj=theirs.linear2,
        self_attention_norm=theirs.norm1,
        feed_forward_norm=theirs.norm2,
    )
    seen = MASK[:, None, None, :].bool().expand(2, 1, 5, 5)
    theirs.train()  # without dropout the same, and not the fast path, whose padding is zeros
    equal(ours(hidden(), seen), theirs(hidden(), src_key_padding_mask=MASK == 0), MASK)


@pytest.mark.parametrize("place", ["post", "pre"])
def test_a_decoder_block_is_torchs(place):
    """Masked self-attention, then over the encoder's output, then feed-forward."""
    torch.manual_seed(1)
    theirs = nn.TransformerDecoderLayer(16, 4, 24, 0.0, batch_first=True, norm_first=place == "pre")
    ours = block(EncoderDecoderConfig(**SHAPE, norm_position=place), sees_encoder=True, is_causal=True)
    give_torch_attention(ours, "self_attention", theirs.self_attn)
    give_torch_attention(ours, "cross_attention", theirs.multihead_attn)
    give(
        ours,
        feed_forward__up_proj=theirs.linear1,
        feed_forward__down_proj=theirs.linear2,
        self_attention_norm=theirs.norm1,
        cross_attention_norm=theirs.norm2,
        feed_forward_norm=theirs.norm3,
    )
    before = torch.ones(4, 4).tril().bool()
    x, memory = hidden(length=4), hidden(seed=1)
    expected = theirs(x, memory, tgt_mask=~before, memory_key_padding_mask=MASK == 0)
    equal(ours(x, before[None, None], memory, MASK[:, None, None, :].bool()), expected)


def test_a_block_is_berts():
    config = hf.BertConfig(
        hidden_size=16,
        num_attention_heads=4,
        intermediate_size=24,
        num_hidden_layers=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        vocab_size=61,
    )
    torch.manual_seed(1)
    model = hf.BertModel(config).eval()
    theirs = model.encoder.layer[0]
    ours = block(EncoderConfig(**SHAPE, hidden_act="gelu", norm_eps=config.layer_norm_eps))
    own = theirs.attention.self
    give_projections(ours, "self_attention", [own.query, own.key, own.value, theirs.attention.output.dense])
    give(
        ours,
        self_attention_norm=theirs.attention.output.LayerNorm,
        feed_forward_norm=theirs.output.LayerNorm,
        feed_forward__up_proj=theirs.intermediate.dense,
        feed_forward__down_proj=theirs.output.dense,
    )
    mask = create_bidirectional_mask(config, hidden(), MASK)
    equal(ours(hidden(), MASK[:, None, None, :].bool()), theirs(hidden(), mask), MASK)


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
def test_the_whole_of_gpt2(kind):
    """Learned positions, pre-norm, GELU's approximation, tied words: equal logits."""
    torch.manual_seed(1)
    theirs = hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=61, n_positions=32, n_embd=16, n_layer=2, n_head=4, n_inner=24, bos_token_id=1, eos_token_id=2
        )
    ).eval()
    config = DecoderConfig(**SHAPE, position_embedding_type="learned", hidden_act="gelu_new", norm_position="pre")
    ours = AutoModelForCausalLM.from_config(config, attn_implementation=kind).eval()
    body = theirs.transformer
    give(ours.model, embed_tokens=body.wte, embed_positions=body.wpe, norm=body.ln_f)
    for mine, other in zip(ours.model.layers, body.h, strict=True):
        joint = zip(other.attn.c_attn.weight.T.chunk(3), other.attn.c_attn.bias.chunk(3), strict=True)
        give_projections(mine, "self_attention", [*joint, (other.attn.c_proj.weight.T, other.attn.c_proj.bias)])
        give(
            mine,
            self_attention_norm=other.ln_1,
            feed_forward_norm=other.ln_2,
            feed_forward__up_proj=(other.mlp.c_fc.weight.T, other.mlp.c_fc.bias),
            feed_forward__down_proj=(other.mlp.c_proj.weight.T, other.mlp.c_proj.bias),
        )
    ids = torch.randint(3, 61, (2, 5))
    equal(ours(ids, MASK).logits, theirs(ids, attention_mask=MASK).logits, MASK)


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
def test_the_whole_of_llama(kind):
    """Rotary positions, grouped heads, RMSNorm, SwiGLU: equal logits, and equal texts."""
    torch.manual_seed(1)
    shape = {key: value for key, value in SHAPE.items() if key != "dropout"} | {"num_key_value_heads": 2}
    theirs = hf.LlamaForCausalLM(hf.LlamaConfig(**shape, tie_word_embeddings=False, rms_norm_eps=1e-5)).eval()
    config = DecoderConfig(
        **SHAPE,
        position_embedding_type="rotary",
        hidden_act="swiglu",
        norm_position="pre",
        normalization="rms",
        bias=False,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    ours = AutoModelForCausalLM.from_config(config, attn_implementation=kind).eval()
    give(ours, model__embed_tokens=theirs.model.embed_tokens, model__norm=theirs.model.norm, lm_head=theirs.lm_head)
    for mine, other in zip(ours.model.layers, theirs.model.layers, strict=True):
        own = other.self_attn
        give_projections(mine, "self_attention", [own.q_proj, own.k_proj, own.v_proj, own.o_proj])
        give(
            mine,
            self_attention_norm=other.input_layernorm,
            feed_forward_norm=other.post_attention_layernorm,
            feed_forward__gate_proj=other.mlp.gate_proj,
            feed_forward__up_proj=other.mlp.up_proj,
            feed_forward__down_proj=other.mlp.down_proj,
        )
    ids = torch.randint(3, 61, (2, 5))
    equal(ours(ids, MASK).logits, theirs(ids, attention_mask=MASK).logits, MASK)
    greedy = {"attention_mask": MASK.flip(1), "max_new_tokens": 6, "do_sample": False}
    assert torch.equal(ours.generate(ids, **greedy), theirs.generate(ids, **greedy))


def test_blocks_are_barts():
    config = hf.BartConfig(
        vocab_size=61,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        dropout=0.0,
    )
    torch.manual_seed(1)
    model = hf.BartModel(config).eval()
    encoder = block(EncoderConfig(**SHAPE, hidden_act="gelu"))
    decoder = block(EncoderDecoderConfig(**SHAPE, hidden_act="gelu"), sees_encoder=True, is_causal=True)
    for ours, theirs in ((encoder, model.encoder.layers[0]), (decoder, model.decoder.layers[0])):
        pairs = {"self_attention": "self_attn", "cross_attention": "encoder_attn"}
        for mine, other in pairs.items():
            if hasattr(theirs, other):
                own = getattr(theirs, other)
                give_projections(ours, mine, [own.q_proj, own.k_proj, own.v_proj, own.out_proj])
                give(ours, **{f"{mine}_norm": getattr(theirs, f"{other}_layer_norm")})
        give(
            ours,
            feed_forward__up_proj=theirs.fc1,
            feed_forward__down_proj=theirs.fc2,
            feed_forward_norm=theirs.final_layer_norm,
        )
    seen = MASK[:, None, None, :].bool()
    mask = create_bidirectional_mask(config, hidden(), MASK)
    equal(encoder(hidden(), seen), model.encoder.layers[0](hidden(), mask), MASK)
    x = hidden(length=4, seed=2)
    causal = create_causal_mask(config, x, torch.ones(2, 4), None)
    expected = model.decoder.layers[0](x, causal, hidden(), create_bidirectional_mask(config, x, MASK, hidden()))
    equal(decoder(x, torch.ones(4, 4).tril().bool()[None, None], hidden(), seen), expected)


# -------------------------------------------------------------------------------------------------------------- models
def causal(**options: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(DecoderConfig(**SHAPE, **options)).eval()


def pair(**options: Any) -> Any:
    torch.manual_seed(0)
    config = EncoderDecoderConfig(**SHAPE, num_decoder_layers=1, decoder_start_token_id=1, **options)
    return AutoModelForSeq2SeqLM.from_config(config).eval()


@pytest.mark.parametrize("options", KINDS)
def test_a_cache_changes_no_logit(options):
    ids, model = torch.randint(3, 61, (2, 9)), causal(**options)
    whole = model(ids).logits
    first = model(ids[:, :4], use_cache=True)
    cache, parts = first.past_key_values, [first.logits]
    for t in range(4, 9):
        parts.append(model(ids[:, t : t + 1], past_key_values=cache).logits)
    equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("options", KINDS)
def test_a_cache_changes_no_logit_of_an_answer(options):
    ids, answer, model = torch.randint(3, 61, (2, 5)), torch.randint(3, 61, (2, 6)), pair(**options)
    whole = model(ids, MASK, answer).logits
    encoded = model.get_encoder()(ids, MASK)
    cache, parts = None, []
    for t in range(6):
        step = model(
            attention_mask=MASK,
            decoder_input_ids=answer[:, t : t + 1],
            encoder_outputs=encoded,
            past_key_values=cache,
            use_cache=True,
        )
        cache = step.past_key_values
        parts.append(step.logits)
    equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("options", KINDS)
def test_padding_on_either_side_changes_no_logit(options):
    ids, model = torch.randint(3, 61, (1, 3)), causal(**options)
    alone = model(ids).logits
    padded = torch.cat((torch.zeros(1, 2, dtype=torch.long), ids), 1)
    mask = torch.tensor([[0, 0, 1, 1, 1]])
    positions = torch.tensor([[0, 0, 0, 1, 2]])
    for kind in ("sdpa", "eager"):
        model.set_attn_implementation(kind)
        equal(model(padded, mask, positions).logits[:, 2:], alone)
        equal(model(padded.flip(1).scatter(1, torch.arange(3)[None], ids), MASK[1:]).logits[:, :3], alone)


def test_no_token_sees_a_later_one():
    ids, model = torch.randint(3, 61, (1, 6)), causal()
    other = ids.clone()
    other[0, 4] = 3 + (ids[0, 4] - 2) % 58
    assert not torch.equal(ids, other)
    equal(model(ids).logits[:, :4], model(other).logits[:, :4])


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.model_type)
def test_a_saved_model_opens_by_auto_model_with_equal_outputs(config, tmp_path):
    for auto_model in MODELS[config]:
        folder = tmp_path / auto_model.__name__
        torch.manual_seed(0)
        options = {"decoder_start_token_id": 1} if config is EncoderDecoderConfig else {}
        model = auto_model.from_config(
            config(**SHAPE, num_labels=3, position_embedding_type="rotary", **options)
        ).eval()
        model.save_pretrained(folder)
        again, about = auto_model.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        assert not about["missing_keys"] and not about["unexpected_keys"]
        ids = torch.randint(3, 61, (2, 5))
        given = {"decoder_input_ids": ids} if options else {}
        assert torch.equal(model(ids, MASK, **given)[0], again(ids, MASK, **given)[0])
    assert isinstance(AutoConfig.from_pretrained(folder), config)
    assert AutoModel.from_pretrained(folder).config.model_type == config.model_type


def test_one_table_of_words_serves_the_input_and_the_output():
    model = pair()
    tables = {id(t.weight) for t in (model.lm_head, model.model.shared, model.model.encoder.embed_tokens)}
    assert len(tables) == 1
    model.resize_token_embeddings(70)
    assert model.lm_head.weight is model.model.decoder.embed_tokens.weight
    assert model.lm_head.weight.shape == (70, 16)


def test_an_unknown_argument_is_an_error():
    with pytest.raises(TypeError, match="token_type_ids"):
        causal()(torch.ones(1, 3, dtype=torch.long), token_type_ids=torch.zeros(1, 3))


def test_hidden_states_and_attentions_are_those_of_every_layer():
    ids, model = torch.randint(3, 61, (2, 5)), causal(norm_position="pre")
    states = model(ids, output_hidden_states=True).hidden_states
    assert len(states) == 3
    equal(model.lm_head(states[-1]), model(ids).logits)
    model.set_attn_implementation("eager")
    assert [weights.shape for weights in model(ids, output_attentions=True).attentions] == [(2, 4, 5, 5)] * 2


def test_the_last_token_is_found_on_either_side():
    states = torch.arange(6.0).view(2, 3, 1)
    assert last_token(states, torch.tensor([[1, 1, 0], [0, 1, 1]])).flatten().tolist() == [1, 5]


def test_a_decoder_shifts_the_labels_it_gets():
    ids, model = torch.randint(3, 61, (2, 5)), causal()
    expected = nn.functional.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(model(ids, labels=ids).loss, expected)


def test_an_answer_starts_with_its_start_token():
    labels = torch.tensor([[5, 6, 7], [8, -100, -100]])
    assert pair().prepare_decoder_input_ids_from_labels(labels).tolist() == [[1, 5, 6], [1, 8, 0]]
