"""The page that a pretraining run leaves."""

import math

import numpy as np
import pytest
import torch

from lathe.core.tokens import TokenFile
from lathe.core.types import Symbols
from lathe.objectives import CausalLM
from lathe.pretrain.course import PretrainTrain
from lathe.pretrain.evaluation import HeldOut, mean_losses, scores_of, verdicts
from lathe.pretrain.report import Run, report

STEP = {
    "event": "step",
    "loss": 2.5,
    "grad_norm": 1.0,
    "learning_rate": 1e-3,
    "tokens": 100,
    "seconds": 0.1,
    "items": {"masked": 20},
}
SCORES = {"unigram_entropy": 4.0, "validation_loss": 2.0, "validation_loss_before": 3.0}
OLD = {"old_loss": 2.5, "old_loss_before": 2.25, "old_unigram_entropy": 4.5, "forgetting": 0.25}


def page(scores, *more):
    log = [STEP | {"step": number} for number in range(1, 4)] + [{"event": "evaluation", "step": 3, "loss": 2.0}, *more]
    return report(Run("gpt2, 12 parameters,", "causal language modelling", scores, log))


def test_the_loss_stands_beside_its_baseline_and_what_was_before():
    told = page(SCORES | OLD)
    assert (
        "ends at 2.000 nats a token, 2.00 below the 4.00 of a model that knows only how frequent each token is" in told
    )
    assert "The loss on old text rose by 0.250 nats: so much was forgotten." in told
    assert "3.000</td>" in told
    assert "unigram entropy: 4" in told


def test_a_run_worse_than_its_baseline_says_so():
    assert "1.00 above the 4.00" in page(SCORES | {"validation_loss": 5.0})


def test_a_page_stands_alone_and_escapes_what_a_model_writes():
    samples = {"event": "samples", "step": 3, "samples": [{"prompt": "<b>", "text": "<script>alert(1)</script>"}]}
    told = page(SCORES, samples)
    assert "<script" not in told
    assert "&lt;script&gt;" in told
    assert "http" not in told.split("</style>")[1]


def test_without_held_out_text_only_the_training_loss_is_shown():
    assert "No text was held out." in page({"unigram_entropy": 4.0})


def test_bits_per_byte_are_the_nats_of_the_rows_over_their_bytes(tmp_path, tokenizer, gpt2_config):
    """Summed token by token, Chinese included, where a character has three bytes."""
    texts = ["the film is good", "影片很好", "a bad plot in Paris"]
    tokens = TokenFile.write(tmp_path / "tokens", texts, tokenizer, 16)
    torch.manual_seed(0)
    model = CausalLM.auto_model.from_config(gpt2_config)
    found = mean_losses(
        model,
        CausalLM(),
        [HeldOut("validation", tokens, tokenizer)],
        Symbols.of(tokenizer),
        PretrainTrain(precision="fp32"),
        9,
    )
    model.requires_grad_(False)
    nats = 0.0
    for row in range(3):
        ids = torch.from_numpy(np.array(tokens[row]["input_ids"]))[None]
        log_p = model(ids).logits[0, :-1].log_softmax(-1)
        nats -= float(log_p.gather(1, ids[0, 1:, None]).sum())
    size = sum(len(tokenizer.decode(tokens[row]["input_ids"], skip_special_tokens=True).encode()) for row in range(3))
    assert found["validation_bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)


def test_forgetting_is_the_rise_of_the_loss_on_old_text(tmp_path, tokenizer):
    tokens = TokenFile.write(tmp_path / "tokens", ["good film", "bad film"], tokenizer, 16)
    before, after = ({"validation_loss": a, "old_loss": b} for a, b in ((3.0, 1.0), (2.0, 1.5)))
    scores = {"unigram_entropy": 4.0} | scores_of([HeldOut("old", tokens, tokenizer)], before, after)
    assert scores["forgetting"] == 0.5
    assert scores["old_unigram_entropy"] == tokens.unigram_entropy()
    assert list(verdicts(scores))[1:] == [
        "new text: 3.000 nats before, 2.000 now",
        f"old text: 1.000 nats before, 1.500 now: 0.500 forgotten (unigram entropy {tokens.unigram_entropy():.3f})",
    ]
