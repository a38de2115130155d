"""Stories: what is accepted, in which order things run, and what is done only once."""

from pathlib import Path

import pytest

from lathe.core.errors import DataError, RecipeError
from lathe.core.recipe import merged
from lathe.stories import Recipe, run
from lathe.stories.story import STAGES, changed, prepare, read_story
from lathe.verbs import VERBS

CORPUS = '[[stage]]\nverb = "corpus"\nname = "text"\nsource = { kind = "files", paths = ["PATH"] }\n'
TOKENIZER = '[[stage]]\nverb = "tokenizer"\nname = "pieces"\nvocab_size = 64\ndata = { train = "@text" }\n'


def story(folder: Path, text: str) -> Path:
    rows = [f"the {word} of number {number} is in a row of its own" for number, word in enumerate("abcdefghij" * 8)]
    (folder / "text.txt").write_text("\n".join(rows), encoding="utf-8")
    file = folder / "story.toml"
    file.write_text(text.replace("PATH", str(folder / "text.txt")), encoding="utf-8")
    return file


def message(folder: Path, text: str) -> str:
    with pytest.raises(RecipeError) as error:
        prepare(read_story(story(folder, text)), folder / "out")
    return str(error.value)


def test_stages_run_in_order_each_in_a_folder_of_its_name(tmp_path):
    result = run(Recipe(story=story(tmp_path, CORPUS + TOKENIZER)), tmp_path / "out")
    assert [stage["name"] for stage in result["stages"]] == ["text", "pieces"]
    assert (tmp_path / "out/text/manifest.json").is_file()
    assert (tmp_path / "out/pieces/tokenizer.json").is_file()
    assert not result["reused"]


def test_a_story_that_has_run_is_reused_whole(tmp_path):
    recipe = Recipe(story=story(tmp_path, CORPUS + TOKENIZER))
    run(recipe, tmp_path / "out")
    assert run(recipe, tmp_path / "out")["reused"]


def test_a_story_goes_on_after_its_last_finished_stage(tmp_path):
    run(Recipe(story=story(tmp_path, CORPUS)), tmp_path / "out")
    result = run(Recipe(story=story(tmp_path, CORPUS + TOKENIZER)), tmp_path / "out")
    assert [stage["reused"] for stage in result["stages"]] == [True, False]


def test_nothing_runs_when_a_later_stage_is_wrong(tmp_path):
    assert "pieces: vocab_sise: no such option; did you mean 'vocab_size'?" in message(
        tmp_path, CORPUS + TOKENIZER.replace("vocab_size", "vocab_sise")
    )
    assert not (tmp_path / "out").exists()


def test_a_reference_must_name_an_earlier_stage(tmp_path):
    assert "no earlier stage is called 'text' (there are none)" in message(tmp_path, TOKENIZER + CORPUS)
    assert "did you mean 'text'?" in message(tmp_path, CORPUS + TOKENIZER.replace("@text", "@txet"))


def test_a_file_below_an_earlier_stage_is_looked_for_when_its_turn_comes(tmp_path):
    text = CORPUS + TOKENIZER.replace("@text", "@text/none.txt")
    with pytest.raises(DataError, match=r"text/none\.txt: no such file"):
        run(Recipe(story=story(tmp_path, text)), tmp_path / "out")


def test_a_verb_that_makes_no_folder_cannot_stand_in_a_story(tmp_path):
    assert "stage 1: verb 'serve' is not one of" in message(tmp_path, '[[stage]]\nverb = "serve"\n')
    assert set(STAGES) < set(VERBS)


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b", "..", 7])
def test_a_stage_is_named_like_a_folder(tmp_path, name):
    written = f'"{name}"' if isinstance(name, str) else name
    assert "cannot be the name of a folder" in message(tmp_path, CORPUS.replace('"text"', str(written), 1))


def test_two_stages_cannot_share_a_folder(tmp_path):
    assert "two stages are called 'text'" in message(tmp_path, CORPUS + CORPUS)


@pytest.mark.parametrize("text", ["", "stage = 3", 'verb = "finetune"\n' + CORPUS, "other = 1\n" + CORPUS])
def test_a_file_that_is_no_story_is_refused(tmp_path, text):
    assert "story" in message(tmp_path, text)


def test_options_of_a_stage_can_be_given_on_top(tmp_path):
    recipe = Recipe(story=story(tmp_path, CORPUS + TOKENIZER), stages={"pieces": {"vocab_size": 128}})
    steps = prepare(changed(read_story(recipe.story), recipe.stages), tmp_path / "out")
    assert steps[1].recipe.vocab_size == 128
    assert steps[1].recipe.data.train == tmp_path / "out/text"


@pytest.mark.parametrize("options", [{"peices": {"vocab_size": 1}}, {"pieces": 3}])
def test_options_for_no_stage_are_refused(tmp_path, options):
    with pytest.raises(RecipeError, match="stages.p"):
        changed(read_story(story(tmp_path, CORPUS + TOKENIZER)), options)


def test_merging_changes_neither_side():
    old, new = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4}
    assert merged(old, new) == {"a": {"b": 3, "c": 2}, "d": 4}
    assert (old, new) == ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4})
