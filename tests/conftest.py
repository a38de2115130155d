"""What every test shares: a tiny tokenizer, tiny model shapes, and no network."""

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, GPT2Config, PreTrainedTokenizerFast

from lathe.core import fit
from lathe.core.bundle import Manifest, seal
from lathe.core.errors import Stopped
from lathe.core.learn import Step
from lathe.core.recipe import dump
from lathe.core.report import Meter
from lathe.core.work import Work
from lathe.models.pretrained import new_model, save_model
from lathe.tasks import AnyTask, Classify, Tag

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENGLISH = ["good", "bad", "great", "awful", "film", "plot", "the", "a", "is", "not", "in", "Paris"]
WORDS = [*SPECIAL, *ENGLISH, *"好坏影片很不北京"]

torch.set_num_threads(2)
settings.register_profile("lathe", derandomize=True, deadline=None, database=None)
settings.load_profile("lathe")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that leaves this machine fails the test; ``except Exception`` cannot swallow the failure."""

    def guarded(connect):
        def checked(self: socket.socket, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
                self.close()
                pytest.fail(f"a test connects to {address}")
            return connect(self, address)

        return checked

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words, Chinese characters one by one, ``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``."""
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=False)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", WORDS.index("[SEP]")), ("[CLS]", WORDS.index("[CLS]")))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=core, **dict(zip(names, SPECIAL, strict=True)))


def tiny_bert() -> BertConfig:
    """Two layers, 16 wide, no dropout, with the tokenizer's vocabulary."""
    return BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def tiny_gpt2() -> GPT2Config:
    """Two layers, 16 wide, no dropout, with the tokenizer's vocabulary; it ends a text with ``[SEP]``."""
    end = WORDS.index("[SEP]")
    return GPT2Config(
        vocab_size=len(WORDS),
        n_positions=32,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
    )


tokenizer = pytest.fixture(tiny_tokenizer, name="tokenizer")
bert_config = pytest.fixture(tiny_bert, name="bert_config")
gpt2_config = pytest.fixture(tiny_gpt2, name="gpt2_config")


@pytest.fixture(scope="session")
def tiny() -> tuple[Callable[[], BertConfig], Callable[[], PreTrainedTokenizerFast]]:
    """What makes them anew, for fixtures that several tests share."""
    return tiny_bert, tiny_tokenizer


@pytest.fixture(scope="session")
def tiny_all() -> tuple[Callable[[], PreTrainedTokenizerFast], Callable[[], BertConfig], Callable[[], GPT2Config]]:
    """The same, and a decoder."""
    return tiny_tokenizer, tiny_bert, tiny_gpt2


@pytest.fixture
def classifier(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, bert_config: BertConfig) -> Path:
    """A sealed model with random weights that tells ``bad`` from ``good``."""
    return _bundle(tmp_path / "classifier", Classify(labels=("bad", "good"), max_length=32), tokenizer, bert_config)


@pytest.fixture
def tagger(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, bert_config: BertConfig) -> Path:
    """A sealed model with random weights that finds places."""
    return _bundle(tmp_path / "tagger", Tag(labels=("LOC",), max_length=32), tokenizer, bert_config)


@pytest.fixture
def stopped_after() -> Callable[[int], AbstractContextManager[None]]:
    """Within ``stopped_after(n)`` a training run gets SIGTERM when step n is in its log, and has to stop there."""
    return _stopped_after


@contextmanager
def _stopped_after(number: int) -> Iterator[None]:
    record = fit._record

    def stop(step: Step, work: Work, meter: Meter) -> None:
        record(step, work, meter)
        if step.number == number:
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(fit, "_record", stop)
        yield


def _bundle(folder: Path, task: AnyTask, tokenizer: PreTrainedTokenizerFast, config: BertConfig) -> Path:
    config.id2label = dict(enumerate(task.outputs))
    config.label2id = {name: index for index, name in enumerate(task.outputs)}
    runtime = save_model(new_model(task.auto_model, config, seed=0), tokenizer, folder)
    scores = {"test": {"accuracy": 0.75}, "test_baseline": {"accuracy": 0.5}}
    seal(folder, Manifest(kind="model", stage="finetune", task=dump(task), runtime=runtime, scores=scores))
    return folder


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:  # a name
        return host == "localhost"
