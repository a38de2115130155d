"""Beside transformers.Trainer: the same step where it is right, and ours unchanged where it is not."""

import copy

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from lathe.core.batches import EncodedRows, Plan, StepSize, batches
from lathe.core.keyed import row_keys
from lathe.core.learn import State, Train, train_step
from lathe.core.optim import SGD, Constant
from lathe.core.types import Symbols
from lathe.tasks import Classify

RATE = 0.1
TEXTS = [
    "good film",
    "the plot is not bad",
    "bad",
    "a great film",
    "awful",
    "很好",
    "影片很坏 plot",
    "the film is great",
]


@pytest.fixture
def model(bert_config):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(bert_config)


def ours(model, tokenizer, rows, tokens_per_batch):
    task = Classify(labels=("neg", "pos"))
    source = EncodedRows(task.encode(rows, tokenizer), row_keys("rows", len(rows)))
    config = Train(learning_rate=RATE, optimizer=SGD(), lr_scheduler=Constant(), warmup_ratio=0, max_grad_norm=1e9,
                   precision="fp32")  # fmt: skip
    plan = Plan(source.lengths, StepSize(len(rows)), 0)
    step = next(batches(source, task, Symbols.of(tokenizer), plan, tokens_per_batch))
    train_step(model, task, step, config, 1, State(config.optimizer(model)))
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def theirs(model, tokenizer, rows, accumulation, folder):
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    encoded = [dict(tokenizer(row["text"])) | {"labels": ("neg", "pos").index(row["label"])} for row in rows]
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=1, per_device_train_batch_size=len(rows) // accumulation, learning_rate=RATE,
        gradient_accumulation_steps=accumulation, optim="sgd", lr_scheduler_type="constant", max_grad_norm=0.0,
        weight_decay=0.0, save_strategy="no", logging_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    Trainer(
        model=model, args=arguments, train_dataset=encoded, data_collator=DataCollatorWithPadding(tokenizer)
    ).train()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")  # the peer's own
def test_a_step_is_the_peers_step_and_stays_so_in_pieces(model, tokenizer, tmp_path):
    rows = [{"text": text, "label": ("neg", "pos")[i % 2]} for i, text in enumerate(TEXTS)]
    start = torch.cat([p.detach().flatten() for p in model.parameters()])
    whole = ours(copy.deepcopy(model), tokenizer, rows, 10**6)
    pieces = ours(copy.deepcopy(model), tokenizer, rows, 8)
    peer = theirs(copy.deepcopy(model), tokenizer, rows, 1, tmp_path / "one")
    accumulated = theirs(copy.deepcopy(model), tokenizer, rows, 4, tmp_path / "four")
    assert (whole - peer).abs().max() < 1e-6
    assert (pieces - whole).abs().max() < 1e-6
    ratio = float((accumulated - start).norm() / (peer - start).norm())
    print(f"the peer's step under accumulation is {ratio:.3f} times the right one")
