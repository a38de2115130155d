"""The labelled set made from documentation: nothing but content may tell the library."""

import pytest

from lathe.core.types import Document
from lathe.corpus.documentation import label_by_library, names_pattern

TOPICS = {"torch": "tensor gradient layer", "numpy": "array stride dtype", "python": "file socket thread"}


def documents(per_library: int = 12) -> list[Document]:
    return [
        Document(
            f"{library}.{topic} number {n} " + " ".join(f"{word}{n}" for word in topic.split() * 5),
            f"{library}.m{n}:f",
            {"library": library, "module": f"{library}.m{n}"},
        )
        for library, topic in TOPICS.items()
        for n in range(per_library)
    ]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("import numpy as np; np.zeros", "import _ as _; _.zeros"),
        ("torch.nn.Linear of PyTorch", "_._.Linear of _"),
        ("TorchScript, torchvision", "_Script, _vision"),
        ("torch_dtype", "__dtype"),
        ("input, snap, unpin, nnz", "input, snap, unpin, nnz"),
        ("NumPy 和Python的", "_ 和_的"),
    ],
)
def test_names_are_masked_in_every_form_and_nothing_else(text: str, masked: str):
    assert names_pattern(TOPICS).sub("_", text) == masked


def test_no_row_holds_a_name_of_a_library():
    rows = label_by_library(documents(), labels=3)
    assert len(rows) == 36
    assert not [row for row in rows if names_pattern(TOPICS).search(row["text"])]


def test_texts_that_differ_in_the_name_only_are_one_row():
    text = "{} returns the sum of all the elements of its argument along the axis that was given to it"
    same = [Document(text.format(lib), f"{lib}.s:f", {"library": lib, "module": f"{lib}.s"}) for lib in TOPICS]
    assert len(label_by_library([*documents(), *same], labels=3)) == 36 + 1


def test_classes_are_capped_and_the_rows_do_not_depend_on_the_order_of_the_documents():
    same = [Document("w " * 80, f"{lib}.s:f", {"library": lib, "module": f"{lib}.s"}) for lib in TOPICS]
    many = [*documents(), *same]
    rows = label_by_library(many, labels=3, cap=5)
    assert sorted(row["label"] for row in rows) == ["numpy"] * 5 + ["python"] * 5 + ["torch"] * 5
    assert rows == label_by_library(many[::-1], labels=3, cap=5)


def test_the_labels_are_the_libraries_with_the_most_text():
    few = [d for d in documents() if d.meta["library"] != "python" or d.id == "python.m1:f"]
    assert {row["label"] for row in label_by_library(few, labels=2)} == {"torch", "numpy"}
