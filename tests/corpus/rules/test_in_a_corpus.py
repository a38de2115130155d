"""The rules as steps of a corpus: every document is accounted for, and what was changed is counted."""

import json
from pathlib import Path

from lathe.core.documents import read_documents, splits_of
from lathe.core.recipe import parse
from lathe.corpus import Recipe, run

ENGLISH = "The harbour of the old town lies on the north side of the bay, and boats have to wait for the tide. " * 2
CHINESE = "这座古老的港口位于海湾的北岸，两条河流在这里汇合，流入大海。" * 2
STEPS = [
    {"kind": "hide_personal_data"},
    {"kind": "drop_boilerplate"},
    {"kind": "blocklist", "terms": ["casino", "赌博"], "domains": ["spam.example"]},
    {"kind": "keep_length", "min_words": 10},
    {"kind": "fineweb_quality"},
]


def test_what_is_dropped_and_what_is_changed_reaches_the_scores(tmp_path: Path):
    rows = [
        {"text": f"{ENGLISH}Write to ann@example.org or bob@example.org."},
        {"text": f"{CHINESE}\n隐私政策"},
        {"text": f"{ENGLISH}The casino is open."},
        {"text": f"{CHINESE}赌博网站。"},
        {"text": "Too short."},
        {"text": ENGLISH.replace(".", "")},
    ]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    source = {"kind": "files", "paths": [str(file)]}
    made = run(parse(Recipe, {"source": source, "steps": STEPS, "processes": 1}), tmp_path / "c")
    scores = made.manifest.scores
    assert (scores["read"], scores["kept"]) == (6, 2)
    assert scores["dropped"] == {
        "blocklist: term": 2,
        "fineweb quality: too few lines end a sentence": 1,
        "length: too few words": 1,
    }
    assert scores["changed"] == {"boilerplate: policy": 1, "personal data: email": 2}
    kept = {document.text for split in splits_of(made.path) for document in read_documents(made.path, split)}
    assert kept == {f"{ENGLISH}Write to <email> or <email>.", CHINESE}
