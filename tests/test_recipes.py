"""The ready recipes: each is what its verb takes, says how it is called, and the small ones run."""

import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from transformers import AutoModelForMaskedLM, BertConfig, PreTrainedTokenizerFast

from lathe.cli import main
from lathe.core.bundle import Bundle
from lathe.core.documents import read_documents
from lathe.core.recipe import parse, read_toml
from lathe.models.pretrained import new_model, save_model
from lathe.stories.story import prepare, read_story
from lathe.verbs import VERBS

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.toml"))
TINY = sorted((FOLDER / "pretrain").glob("*-tiny.toml"))
STORIES = [path for path in RECIPES if "stage" in read_toml(path)]
SINGLE = [path for path in RECIPES if path not in STORIES]
ENGLISH = [("good film", "good"), ("a great plot", "good"), ("bad film", "bad"), ("the plot is awful", "bad")]
CHINESE = [("影片很好", "好"), ("好看", "好"), ("影片很坏", "坏"), ("不好", "坏")]
WORDS = ["film", "plot", "good", "a", "the", "is", "not", "in"]
TAGGED = [
    {"tokens": ["a", "film", "in", "Paris"], "tags": ["O", "O", "O", "B-LOC"]},
    {"tokens": ["在", "北", "京"], "tags": ["O", "B-LOC", "I-LOC"]},
]
INTENTS = [row | {"intent": name} for row, name in zip(TAGGED, ("find", "go"), strict=True)]
ANSWERED = [
    {"context": "a film in Paris", "question": "in", "answers": {"text": ["Paris"], "answer_start": [10]}},
    {"context": "在北京很好", "question": "在", "answers": []},
]
FILM, PLACE = {"start": 2, "end": 6, "label": "ART"}, {"start": 10, "end": 15, "label": "LOC"}
RELATED = [
    {"text": "a film in Paris", "spans": [FILM, PLACE], "relations": [{"head": 0, "tail": 1, "label": "in"}]},
    {"text": "a film or Paris", "spans": [FILM, PLACE], "relations": []},
]
PLAY = {"type": "play", "trigger": {"start": 2, "end": 6}, "arguments": [{"start": 10, "end": 15, "role": "place"}]}
EVENTS = [{"text": "a film in Paris", "events": [PLAY]}, {"text": "很好", "events": []}]
NO_LABEL = {"text": "a film", "labels": []}
STEPS = ["train.max_steps=2"]
PROSE = (
    "The harbour was quiet before the storm, and the people of the village had gone to bed with their doors open.\n"
    "Nobody had seen such a summer in all the years that the oldest of them could remember, and they remembered many.\n"
    "When the wind came in from the sea it took the boats first, one after the other, and then the roof of the inn.\n"
    "In the morning they counted what was left of the fleet, wrote to the county for help, and began to build again.\n"
    "Those who would like to hear more of this can write to me@home.org, and they will have an answer within days.\n"
    "It is said that three of the boats were found on the other side of the bay, with their nets still in good order."
)
CHINESE_PROSE = (
    "这座小城在长江的南岸，城里的人大多靠种田和打鱼过日子，每到秋天，街上总有一股桂花的香味。\n"
    "我小时候常常跟着祖父去江边，他坐在石头上抽烟，我就在一旁看来往的船，一看就是一个下午。\n"
    "后来我到北京念书，又在那里工作了十几年，回来的次数越来越少，可是那条江一直在我的梦里。\n"
    "去年冬天祖父不在了，我赶回去的时候，江面上正下着小雪，岸边的石头还在，坐的人却没有了。\n"
    "如果有人想知道更多这座小城的事情，可以写信到me@home.org，我会在几天以内把知道的都告诉他。\n"
    "母亲说，老人走得很安静，走之前还问过我什么时候放假，说今年的鱼比去年的多，等我回来一起吃。"
)
ADVERTISEMENT = "We sell the best shoes in the town and the shoes are cheap.\n"
CHINESE_ADVERTISEMENT = "我们的鞋子是城里最好的，也是最便宜的。\n"


def name(path: Path) -> str:
    return path.stem


def recipe(stem: str) -> str:
    return str(next(path for path in RECIPES if path.stem == stem))


def classified(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"text": f"{text} {word}", "label": label} for word in WORDS for text, label in pairs]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def encoder(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, bert_config: BertConfig) -> Path:
    tokenizer.add_tokens([*"@#*"])
    bert_config.vocab_size = len(tokenizer)
    save_model(new_model(AutoModelForMaskedLM, bert_config, seed=0), tokenizer, tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.parametrize("path", SINGLE, ids=name)
def test_a_recipe_is_what_its_verb_takes(path):
    values = read_toml(path)
    parse(import_module(VERBS[values.pop("verb")].package).Recipe, values)


@pytest.mark.parametrize("path", STORIES, ids=name)
def test_every_stage_of_a_story_is_what_its_verb_takes(path, tmp_path):
    assert prepare(read_story(path), tmp_path)


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_shows_the_command_that_runs_it(path):
    calls = [shlex.split(line) for line in re.findall(r"^#     lathe (.*)$", path.read_text("utf-8"), re.MULTILINE)]
    assert f"recipes/{path.relative_to(FOLDER)}" in calls[0]
    assert {call[0] for call in calls} <= set(VERBS)


@pytest.mark.parametrize(
    ("stem", "rows"),
    [
        ("classify-english", classified(ENGLISH)),
        ("classify-chinese", classified(CHINESE)),
        ("classify-pairs", [row | {"text_pair": "the plot"} for row in classified(ENGLISH)]),
        ("classify-long", [row | {"text": f"{row['text']} " * 6} for row in classified(ENGLISH)]),
        ("multilabel", [{"text": row["text"], "labels": [row["label"]]} for row in classified(ENGLISH)] + [NO_LABEL]),
        ("similarity", [{"text_a": text, "text_b": word, "score": len(text)} for text, _ in ENGLISH for word in WORDS]),
        ("embed", [{"query": word, "positive": text} for text, _ in ENGLISH for word in WORDS]),
        ("rank", [{"query": word, "positive": text, "negatives": ["the"]} for text, _ in ENGLISH for word in WORDS]),
        ("choose", [{"text": word, "choices": ["good", "bad"], "label": len(word) % 2} for word in WORDS] * 4),
        ("tag", TAGGED * 12),
        ("intent", INTENTS * 12),
        ("relate", RELATED * 12),
        ("event", EVENTS * 12),
        ("answer", ANSWERED * 12),
    ],
)
def test_a_fine_tuning_recipe_runs(stem, rows, tmp_path, encoder):
    data = write(tmp_path / "rows.jsonl", rows)
    out = tmp_path / "out"
    arguments = [f"base={encoder}", f"data.train={data}", f"data.validation={data}", *STEPS]
    if stem != "tag":
        arguments.append("task.max_length=16")  # the tiny model takes no more
    if stem == "classify-long":
        arguments.append("task.stride=4")
    assert main(["finetune", recipe(stem), *arguments, "-o", str(out)]) == 0
    assert (out / "model.safetensors").is_file()


def test_several_tasks_are_trained_together(tmp_path, encoder):
    pairs = [row | {"text_pair": "the plot"} for row in classified(ENGLISH)]
    rows = {"sentiment": classified(ENGLISH), "names": TAGGED * 12, "entailment": pairs}
    files = {name: write(tmp_path / f"{name}.jsonl", some) for name, some in rows.items()}
    arguments = [f"base={encoder}", "train.max_steps=12", "train.temperature=100"]
    arguments += [
        f"tasks.{name}.data.{split}={file}" for name, file in files.items() for split in ("train", "validation")
    ]
    arguments += [f"tasks.{name}.task.max_length=16" for name in rows]  # the tiny model takes no more
    out = tmp_path / "out"
    assert main(["multitask", recipe("several_tasks"), *arguments, "-o", str(out)]) == 0
    assert all((out / name / "model.safetensors").is_file() for name in rows)


def test_a_translator_from_nothing_is_trained(tmp_path, encoder):
    rows = [{"source": a, "target": b} for (a, _), (b, _) in zip(ENGLISH, CHINESE, strict=True)] * 6
    data = write(tmp_path / "rows.jsonl", rows)
    small = [
        "model.hidden_size=16",
        "model.num_hidden_layers=1",
        "task.metric=chrf",
        "task.generation.max_new_tokens=2",
    ]
    arguments = [f"tokenizer={encoder}", f"data.train={data}", f"data.validation={data}", *small, *STEPS]
    assert main(["finetune", recipe("translate"), *arguments, "-o", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("stem", ["web-english", "web-chinese"])
def test_a_recipe_for_web_text_keeps_good_prose_and_says_why_it_drops_the_rest(stem, tmp_path):
    for library in ("py3langid", "ftfy", "opencc"):
        pytest.importorskip(library)
    good, advertisement = {
        "web-english": (PROSE, ADVERTISEMENT),
        "web-chinese": (CHINESE_PROSE, CHINESE_ADVERTISEMENT),
    }[stem]
    texts = [good, good, PROSE, CHINESE_PROSE, advertisement * 30, good[:40]]
    rows = [{"text": text} for text in texts]
    out = tmp_path / "out"
    paths = f'source.paths=["{write(tmp_path / "rows.jsonl", rows)}"]'
    assert main(["corpus", recipe(stem), paths, "split={validation=0, test=0}", "-o", str(out)]) == 0
    assert [document.text for document in read_documents(out)] == [good.replace("me@home.org", "<email>")]
    dropped = Bundle.open(out).manifest.scores["dropped"]
    assert dropped["exact duplicate"] == 2 and sum(dropped.values()) == len(rows) - 1
    assert {reason.partition(":")[0] for reason in dropped} >= {"language", "gopher repetition"}


def test_the_pretraining_recipe_runs(tmp_path, encoder):
    text = write(tmp_path / "text.jsonl", [{"text": text} for text, _ in ENGLISH * 8])
    shape = ["model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=2"]
    arguments = [f"data.train={text}", f"tokenizer={encoder}", *shape, *STEPS, "train.tokens_per_step=64"]
    assert main(["pretrain", recipe("pretrain"), *arguments, "-o", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("path", TINY, ids=name)
def test_a_small_model_of_each_kind_is_pretrained(path, tmp_path, encoder):
    both = zip(ENGLISH, CHINESE, strict=True)
    text = write(tmp_path / "text.jsonl", [{"text": f"{a}。{b}。{a} {b}"} for (a, _), (b, _) in both] * 4)
    arguments = [str(path), f"data.train={text}", f"tokenizer={encoder}", *STEPS, "train.tokens_per_step=64"]
    assert main(["pretrain", *arguments, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/model.safetensors").is_file()


def test_the_story_for_a_team_s_own_text_runs(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    words = [f"{text} number {number}" for number in range(60) for text, _ in ENGLISH + CHINESE]
    (tmp_path / "texts/all.txt").write_text("\n".join(words), encoding="utf-8")
    write(tmp_path / "labelled.jsonl", classified(ENGLISH))
    small = [
        "stages.tokenizer.vocab_size=128",
        "stages.encoder.model={hidden_size=16, num_hidden_layers=2, num_attention_heads=2}",
        "stages.encoder.train.max_steps=2",
        "stages.classifier.train.max_steps=2",
        'stages.model.steps=[{kind="distill", train={max_steps=2}}, "int8"]',
    ]
    assert main(["run", recipe("own-text"), "-o", "own", *small]) == 0
    assert (tmp_path / "own/model/manifest.json").is_file()


DUMP = Path(__file__).parents[2] / "shared/data/mediawiki_dump_sample/enwiki-pages-articles-sample.xml.bz2"


@pytest.mark.parametrize("stem", ["two-cores-one-hour", "one-gpu-one-day"])
def test_a_recipe_for_an_hour_or_a_day_runs_in_small(stem, tmp_path, encoder):
    text = write(tmp_path / "text.jsonl", [{"text": text} for text, _ in ENGLISH * 30])
    shape = ["model.hidden_size=16", "model.num_hidden_layers=1", "model.num_attention_heads=2", "train.max_steps=12"]
    sizes = ["max_length=16", "train.tokens_per_step=64", "train.torch_compile=false", "train.tokens_per_batch=64"]
    phases = "train.phases=[{ratio=0.2, max_length=8, tokens_per_step=32}]"
    arguments = [f"data.train={text}", f"tokenizer={encoder}", *shape, *sizes, phases]
    assert main(["pretrain", recipe(stem), *arguments, "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/report.html").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not DUMP.is_file(), reason="the sample of a dump is not on this machine")
@pytest.mark.parametrize("stem", ["wikipedia-english", "wikipedia-chinese"])
def test_the_story_for_a_wikipedia_dump_runs(stem, tmp_path):
    """On real pages; those of the English sample stand for Chinese ones."""
    pytest.importorskip("lxml")
    small = [
        f'stages.corpus.source.paths=["{DUMP}"]',
        "stages.tokenizer.vocab_size=1024",
        "stages.encoder.model={hidden_size=32, num_hidden_layers=1, num_attention_heads=2}",
        "stages.encoder.max_length=128",
        "stages.encoder.train.max_steps=20",
        "stages.encoder.train.tokens_per_step=2048",
        "stages.encoder.train.phases=[{ratio=0.5, max_length=64, tokens_per_step=1024}]",
    ]
    assert main(["run", recipe(stem), "-o", str(tmp_path / "out"), *small]) == 0
    assert (tmp_path / "out/encoder/report.html").is_file()


def test_a_recommender_needs_no_base(tmp_path):
    rows = [{"user": user, "item": (user + at) % 5, "time": at} for user in range(8) for at in range(4)]
    data, small = write(tmp_path / "rows.jsonl", rows), ["model.n_embd=16", "model.n_layer=1", *STEPS]
    assert main(["finetune", recipe("recommend"), f"data.train={data}", *small, "-o", str(tmp_path / "out")]) == 0
