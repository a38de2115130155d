"""Beside KenLM, which reads our ARPA files: each word's log probability is the same."""

import numpy as np
import pytest

from lathe.ngrams import BOS, NGramModel, Words, write_arpa

kenlm = pytest.importorskip("kenlm", reason="needs kenlm: pip install kenlm (it compiles)")

pytestmark = pytest.mark.peer

TEXTS = ["the film is good", "the film is not bad", "a film about the plot", "影片 很 好", "the plot is good"] * 3
UNSEEN = ["the film about a plot is good", "unseen words in the film", "很 好", "a"]


@pytest.mark.parametrize("order", [2, 3, 5])
def test_kenlm_gives_each_word_of_our_model_the_same_probability(tmp_path, order):
    model = NGramModel.learn(TEXTS, order, Words())
    write_arpa(model, tmp_path / "model.arpa")
    theirs = kenlm.Model(str(tmp_path / "model.arpa"))
    for text in TEXTS + UNSEEN:
        stream = model.encode([text])
        ours = model.log_probs(stream)[stream != BOS] / np.log(10)
        np.testing.assert_allclose(ours, [p for p, _, _ in theirs.full_scores(text)], atol=1e-4)
