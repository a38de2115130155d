"""Every test of n-grams runs twice: with the operations in C, and without."""

import pytest

from lathe.ngrams import counts, kneser_ney, model, units


@pytest.fixture(autouse=True, params=["c", "numpy"])
def way(request, monkeypatch):
    if request.param == "c" and model.library() is None:
        pytest.skip("no compiled operations here")
    if request.param == "numpy":
        for module in (counts, kneser_ney, model, units):
            monkeypatch.setattr(module, "library", lambda: None)
