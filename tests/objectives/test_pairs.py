"""Pairs of pieces: what they hold, how they are framed, and the joint loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AlbertConfig, BertForPreTraining, GPT2Config, RobertaConfig

from lathe.core.errors import DataError, RecipeError
from lathe.core.keyed import row_seeds
from lathe.core.tokens import TokenFile
from lathe.core.types import IGNORE, Pair, Symbols
from lathe.objectives import MaskedNSP, MaskedSOP

TEXTS = [
    "good film. Paris is not bad. 很好。 The plot",
    "北京影片很坏。很好！好看。",
    "Bad",
    "a great film in Paris. Not the awful plot. Awful film.",
]
CLS, SEP = 2, 3
NSP, SOP = MaskedNSP(mask_ratio=0.0, random_ratio=0.0), MaskedSOP(mask_ratio=0.0, random_ratio=0.0)


@pytest.fixture
def tokens(tokenizer, tmp_path):
    return lambda objective=NSP, texts=TEXTS, length=40: TokenFile.write(
        tmp_path / f"{objective.kind}-{length}-{len(str(texts))}", texts, tokenizer, length, objective.layout
    )


def collate(objective, file, tokenizer, epoch=0):
    rows = [file[i] for i in range(len(file))]
    return objective.collate(rows, row_seeds(0, epoch, file.keys), Symbols.of(tokenizer))


def pieces(batch, number):
    """The two pieces of a row, by its token types; checks the frame."""
    length = int(batch.inputs["attention_mask"][number].sum())
    ids, types = (batch.inputs[name][number, :length].tolist() for name in ("input_ids", "token_type_ids"))
    at = types.index(1) if 1 in types else length
    assert ids[0] == CLS
    assert ids[at - 1] == ids[-1] == SEP
    assert types == [0] * at + [1] * (length - at)
    return ids[1 : at - 1], ids[at:-1]


def texts_of(file):
    return [file[i]["input_ids"][1:-2].tolist() for i in range(len(file))]


def test_the_tokenizer_tells_how_two_texts_are_framed(tokenizer):
    assert Symbols.of(tokenizer).pair == Pair((CLS,), (SEP,), (SEP,))


def test_the_second_piece_follows_or_is_from_another_document(tokens, tokenizer):
    file = tokens()
    texts = texts_of(file)
    seen = set()
    for epoch in range(60):
        batch = collate(NSP, file, tokenizer, epoch)
        for number, label in enumerate(batch.targets["classes"].tolist()):
            first, second = pieces(batch, number)
            if label == IGNORE:
                assert (texts[number], second) == (first, [])
                continue
            own, at = texts[number], len(first)
            assert own[:at] == first
            assert at + 1 in file[number]["sentences"]
            follows = own[at : at + len(second)] == second
            elsewhere = any(
                text[s - 1 : s - 1 + len(second)] == second
                for other, text in enumerate(texts)
                if other != number
                for s in file[other]["sentences"][1:]
            )
            assert elsewhere if label else follows
            seen.add((number, label))
    assert seen == {(number, label) for number in (0, 1, 3) for label in (0, 1)}


def test_half_of_the_pairs_follow_and_lengths_do_not_tell_which(tokens, tokenizer):
    file = tokens()
    lengths = {0: [], 1: []}
    for epoch in range(400):
        batch = collate(NSP, file, tokenizer, epoch)
        for number, label in enumerate(batch.targets["classes"].tolist()):
            if label != IGNORE:
                lengths[label].append(len(pieces(batch, number)[1]))
    assert len(lengths[0]) / sum(map(len, lengths.values())) == pytest.approx(0.5, abs=0.05)
    assert np.mean(lengths[0]) == pytest.approx(np.mean(lengths[1]), rel=0.08)


def test_pieces_are_exchanged_in_half_of_the_rows(tokens, tokenizer):
    file = tokens(SOP)
    texts, labels = texts_of(file), []
    for epoch in range(100):
        batch = collate(SOP, file, tokenizer, epoch)
        for number, label in enumerate(batch.targets["classes"].tolist()):
            first, second = pieces(batch, number)
            assert texts[number] == (second + first if label == 1 else first + second)
            labels.append(label)
    paired = [label for label in labels if label != IGNORE]
    assert np.mean(paired) == pytest.approx(0.5, abs=0.08)
    assert labels.count(IGNORE) == 100  # the document of one word


@pytest.mark.parametrize("objective", [NSP, SOP])
@pytest.mark.parametrize("length", [9, 16])
def test_rows_keep_to_the_longest_length(tokens, tokenizer, objective, length):
    file = tokens(objective, length=length)
    batch = collate(objective, file, tokenizer)
    assert (batch.inputs["attention_mask"].sum(1).numpy() <= file.lengths).all()


def test_the_loss_is_the_sum_of_two_means_each_over_its_own_items(tokens, tokenizer, bert_config):
    torch.manual_seed(0)
    model = BertForPreTraining(bert_config).eval()
    objective = MaskedNSP(mlm_probability=0.5)
    batch = collate(objective, tokens(objective, length=24), tokenizer)
    out = model(**batch.inputs)
    labels, classes = batch.targets["labels"], batch.targets["classes"]
    masked = [-F.log_softmax(out.prediction_logits[b, t], -1)[labels[b, t]]
              for b, t in (labels != IGNORE).nonzero().tolist()]  # fmt: skip
    related = [-F.log_softmax(out.seq_relationship_logits[b], -1)[c] for b, c in enumerate(classes) if c != IGNORE]
    parts = objective.loss(model, batch)
    assert [(part.name, part.items) for part in parts] == [("masked", len(masked)), ("next", len(related))]
    torch.testing.assert_close(parts[0].total, torch.stack(masked).sum())
    torch.testing.assert_close(parts[1].total, torch.stack(related).sum())


def test_models_and_tokenizers_without_pairs_are_refused(tokenizer, bert_config):
    symbols = Symbols.of(tokenizer)
    for shape in (GPT2Config(), RobertaConfig()):
        with pytest.raises(RecipeError, match=f"{shape.model_type!r} has none: albert, bert"):
            NSP.check_model(shape, symbols)
    bert_config.type_vocab_size = 1
    with pytest.raises(RecipeError, match="type_vocab_size has to be 2"):
        NSP.check_model(bert_config, symbols)
    with pytest.raises(RecipeError, match="frames two texts"):
        SOP.check_model(AlbertConfig(), Symbols(0, 4, 25, (0,)))
    with pytest.raises(RecipeError, match="mask token"):
        SOP.check_model(AlbertConfig(), Symbols(0, None, 25, (0,), symbols.pair))


def test_text_without_sentences_or_documents_is_refused(tokens):
    path = Path("text.txt")
    with pytest.raises(DataError, match="text.txt: masked_sop needs rows of two sentences"):
        SOP.check_rows(tokens(SOP, ["good film", "Paris"]), path)
    one = ["good film. Paris is not bad. Bad plot.", "Paris."]
    SOP.check_rows(tokens(SOP, one), path)
    with pytest.raises(DataError, match="needs two documents or more"):
        NSP.check_rows(tokens(NSP, one), path)
