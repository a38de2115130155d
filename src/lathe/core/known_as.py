"""Options by the names that users of Hugging Face's Trainer and its scripts know them by."""

from collections.abc import Collection

_WHOLE_STEP = "rows of a whole step, on all devices together"
_CUT = "steps are cut to fit it, which changes no result"

KNOWN_AS: dict[str, tuple[tuple[str, str], ...]] = {
    "num_train_epochs": (("train.epochs", ""),),
    "num_epochs": (("train.epochs", ""),),
    "per_device_train_batch_size": (
        ("train.batch_size", _WHOLE_STEP),
        ("train.tokens_per_step", "of a whole step, on all devices together"),
    ),
    "per_device_eval_batch_size": (("train.tokens_per_batch", _CUT),),
    "gradient_accumulation_steps": (("train.tokens_per_batch", _CUT),),
    "auto_find_batch_size": (("train.tokens_per_batch", _CUT),),
    "lr": (("train.learning_rate", ""),),
    "lr_scheduler_type": (("train.lr_scheduler", ""),),
    "warmup_steps": (("train.warmup_ratio", "a share of the steps"),),
    "optim": (("train.optimizer", ""),),
    "weight_decay": (("train.optimizer.weight_decay", ""),),
    "adam_beta1": (("train.optimizer.adam_beta1", ""),),
    "adam_beta2": (("train.optimizer.adam_beta2", ""),),
    "adam_epsilon": (("train.optimizer.adam_epsilon", ""),),
    "fp16": (("train.precision", "fp32, bf16 or auto"),),
    "bf16": (("train.precision", "fp32, bf16 or auto"),),
    "eval_strategy": (("train.eval_epochs", "or train.eval_steps"), ("train.eval_steps", "")),
    "evaluation_strategy": (("train.eval_epochs", "or train.eval_steps"), ("train.eval_steps", "")),
    "save_strategy": (("train.save_steps", ""),),
    "load_best_model_at_end": (("train.metric_for_best_model", "the best model is always kept"),),
    "data_seed": (("train.seed", "of everything that is drawn"),),
    "max_seq_length": (("task.max_length", ""), ("max_length", "")),
    "model_max_length": (("task.max_length", ""), ("max_length", "")),
    "block_size": (("max_length", ""), ("task.max_length", "")),
    "doc_stride": (("task.stride", ""),),
    "label_smoothing_factor": (("task.label_smoothing_factor", ""),),
    "mlm_probability": (("objective.mlm_probability", ""),),
    "model_name_or_path": (("base", "a folder"),),
    "train_file": (("data.train", ""),),
    "validation_file": (("data.validation", ""),),
    "test_file": (("data.test", ""),),
    "output_dir": (("-o", "on the command line"),),
}
"""Name there -> names here with what is different, the first that a recipe has."""


def known_as(name: str, options: Collection[str]) -> str:
    """``; here it is train.epochs`` for an option of a recipe that is called ``name`` elsewhere, otherwise nothing.

    >>> known_as("warmup_steps", ["train.warmup_ratio"])
    '; here it is train.warmup_ratio (a share of the steps)'
    """
    found = ((ours, remark) for ours, remark in KNOWN_AS.get(name, ()) if ours in options or ours.startswith("-"))
    ours, remark = next(found, ("", ""))
    return f"; here it is {ours}" * bool(ours) + f" ({remark})" * bool(remark)
