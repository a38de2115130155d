"""Options under the names of Hugging Face's Trainer are answered with ours, where a recipe has them."""

import pytest

from lathe import finetune, pretrain
from lathe.core.errors import RecipeError
from lathe.core.known_as import KNOWN_AS
from lathe.core.recipe import _dotted, parse

FINETUNE = {"base": "b", "data": {"train": "t"}, "task": {"kind": "classify"}}


def refused(schema, values):
    with pytest.raises(RecipeError) as error:
        parse(schema, values)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("num_train_epochs", "train.epochs"),
        ("per_device_train_batch_size", "train.batch_size (rows of a whole step, on all devices together)"),
        ("gradient_accumulation_steps", "train.tokens_per_batch (steps are cut to fit it, which changes no result)"),
        ("lr_scheduler_type", "train.lr_scheduler"),
        ("warmup_steps", "train.warmup_ratio (a share of the steps)"),
        ("weight_decay", "train.optimizer.weight_decay"),
        ("evaluation_strategy", "train.eval_epochs (or train.eval_steps)"),
        ("output_dir", "-o (on the command line)"),
    ],
)
def test_a_name_of_the_trainers_is_answered_with_ours(name, ours):
    said = refused(finetune.Recipe, FINETUNE | {"train": {name: 1}})
    assert said == f"train.{name}: no such option; here it is {ours}"


def test_each_recipe_names_the_option_that_it_has():
    values = {"data": {"train": "t"}, "train": {"per_device_train_batch_size": 1, "evaluation_strategy": "epoch"}}
    said = refused(pretrain.Recipe, values)
    assert "here it is train.tokens_per_step" in said
    assert "here it is train.eval_steps" in said


def test_every_name_that_is_given_exists():
    known = _dotted(finetune.Recipe) | _dotted(pretrain.Recipe) | {"-o"}
    assert {ours for answers in KNOWN_AS.values() for ours, _ in answers} <= known
    options = {name.rpartition(".")[2] for name in known}
    nested = {"weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "label_smoothing_factor", "mlm_probability"}
    assert KNOWN_AS.keys() & options == nested  # these stand one table deeper, or in another
