"""The card of a model."""

from lathe.core.bundle import Ancestor, DataUse, Manifest, Runtime
from lathe.core.card import Figure, card, figures, lineage
from lathe.core.recipe import recipe
from lathe.core.work import run_stage

CORPUS = Ancestor(path="corpus", sha256="a" * 64, stage="corpus")
BASE = Ancestor(path="base", sha256="b" * 64, stage="pretrain", parents=(CORPUS,))
MODEL = Manifest(
    kind="model",
    stage="finetune",
    task={"kind": "classify", "labels": ["bad", "good"]},
    runtime=Runtime(files=("model.safetensors",)),
    data=(DataUse(path="train.csv", sha256="c" * 64, kept=1200, quarantined=3),),
    scores={"test": {"accuracy": 0.9}, "test_interval": {"accuracy": [0.85, 0.95]}, "test_baseline": {"accuracy": 0.8}},
    parents=(BASE,),
)


def test_it_tells_use_data_scores_baseline_origin_and_how_to_load():
    text = card("reviews", MODEL, {"model.safetensors": 2_500_000, "log.jsonl": 9})
    assert text.startswith("---\nlibrary_name: transformers\npipeline_tag: text-classification\ntags:\n- lathe\n---\n")
    assert "license" not in text
    assert "2.5 MB" in text
    assert "Labels: `bad`, `good`." in text
    assert "| train.csv | 1,200 | 3 |" in text
    assert "| test.accuracy | 0.9000 [0.8500, 0.9500] | 0.8000 |" in text
    assert 'lathe.load("reviews")' in text
    assert 'AutoModelForSequenceClassification.from_pretrained("reviews")' in text
    assert "└── base (pretrain, bbbbbbbbbbbb)\n    └── corpus (corpus, aaaaaaaaaaaa)" in text


def test_a_model_that_only_lathe_opens_is_not_said_to_open_with_transformers():
    text = card("small", Manifest(kind="model", stage="compress", task=MODEL.task, runtime=Runtime(kind="onnx")), {})
    assert "from_pretrained" not in text


def test_a_language_model_is_to_be_gone_on_from():
    assert "lathe finetune" in card("base", Manifest(kind="model", stage="pretrain", runtime=Runtime()), {})


def test_a_network_of_lathes_own_is_said_to_need_it():
    own = [card("x", manifest, {}, "lathe-encoder") for manifest in (MODEL, Manifest(kind="model", stage="pretrain"))]
    assert all("import lathe.models" in text and "without Lathe" not in text for text in own)
    assert "import lathe.models" not in card("x", MODEL, {}, "bert")


def test_figures_are_every_number_once():
    scores = {
        "test": {"f1": 0.5, "by": {"LOC": 0.4}},
        "test_baseline": {"f1": 0.1},
        "steps": 7,
        "name": "x",
        "curve": [1],
    }
    assert list(figures(scores)) == [
        Figure("test.f1", 0.5, None, 0.1),
        Figure("test.by.LOC", 0.4),
        Figure("steps", 7.0),
    ]


def test_branches_of_the_lineage_are_drawn():
    lines = list(lineage([BASE, CORPUS], lambda parent: f" {parent.stage.upper()}"))
    assert [line[:4] for line in lines] == ["├── ", "│   ", "└── "]
    assert all(line.endswith(("PRETRAIN", "CORPUS")) for line in lines)


@recipe
class Nothing:
    pass


def test_a_published_model_has_its_card_unless_it_came_with_one(tmp_path):
    def without_card(work):
        (work.result / "model.safetensors").write_bytes(b"weights")
        return MODEL

    own = run_stage("demo", Nothing(), tmp_path / "own", [], without_card)
    assert (own.path / "README.md").read_text("utf-8").count("# own") == 1
    assert "README.md" in own.manifest.files

    def with_card(work):
        (work.result / "README.md").write_text("theirs", encoding="utf-8")
        return without_card(work)

    theirs = run_stage("demo", Nothing(), tmp_path / "theirs", [], with_card)
    assert (theirs.path / "README.md").read_text("utf-8") == "theirs"


def test_an_n_gram_model_is_opened_by_lathe_and_says_how_likely_a_text_is():
    text = card("counts", Manifest(kind="model", stage="ngram", runtime=Runtime(kind="ngram")), {})
    assert 'open_language_model(Path("counts"))' in text and "AutoModel" not in text
    assert "says how likely a text is" in text and "library_name: lathe" in text


def test_a_causal_network_is_opened_with_its_head():
    recipe = {"objective": {"kind": "causal"}}
    assert "AutoModelForCausalLM" in card("gpt", Manifest(kind="model", stage="pretrain", recipe=recipe), {})
