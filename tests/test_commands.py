"""The commands of the README, run one after the other as a reader would."""

import json
import re
import shlex
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM

from lathe.cli import main

ROOT = Path(__file__).parents[1]
NOT_RUN = {"make", "lathe serve"}  # a server does not end by itself: tests/serve starts one

ENGLISH = [
    ("a great film", "positive"),
    ("the plot is bad", "negative"),
    ("good film", "positive"),
    ("awful plot", "negative"),
]
NAMES = [
    (["王", "芳", "住", "在", "北", "京"], ["B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC"]),
    (["很", "好"], ["O", "O"]),
]


@pytest.fixture
def desk(tmp_path, monkeypatch, tokenizer, bert_config) -> Path:
    """The files that the README speaks of, small."""
    monkeypatch.chdir(tmp_path)
    for name in ("encoder", "chinese-encoder", "other"):
        AutoModelForMaskedLM.from_config(bert_config).save_pretrained(tmp_path / "models" / name)
        tokenizer.save_pretrained(tmp_path / "models" / name)
    write("reviews.jsonl", [{"text": f"{text} {i}", "label": label} for i in range(15) for text, label in ENGLISH])
    write("test.jsonl", [{"text": text, "label": label} for text, label in ENGLISH])
    write("new.jsonl", [{"text": text, "id": i} for i, (text, _) in enumerate(ENGLISH)])
    names = [(["第", str(i), *tokens], ["O", "O", *tags]) for i in range(30) for tokens, tags in NAMES]
    write("names.zh.jsonl", [{"tokens": tokens, "tags": tags} for tokens, tags in names])
    texts = [
        f"{text}, number {i}, 影片很好, told at length to whoever asks for it"
        for i in range(300)
        for text, _ in ENGLISH
    ]
    Path("texts.txt").write_text("\n".join(texts), encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("desk")
def test_every_command_of_the_readme_runs(capsys):
    ran = []
    for command in commands(ROOT / "README.md"):
        if any(command.startswith(prefix) for prefix in NOT_RUN):
            continue
        words = shlex.split(command)
        assert words[0] == "lathe", command
        assert main(words[1:]) == 0, f"{command}\n{capsys.readouterr().err}"
        ran.append(words[1])
    assert {
        "check",
        "finetune",
        "show",
        "predict",
        "compress",
        "evaluate",
        "adopt",
        "corpus",
        "tokenizer",
        "pretrain",
    } <= set(ran)
    answers = [json.loads(line) for line in Path("answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
    assert {answer["prediction"]["label"] for answer in answers} <= {"positive", "negative"}


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = (line.strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def write(name: str, rows: list[dict]) -> None:
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
