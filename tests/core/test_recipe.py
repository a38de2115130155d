"""Recipes: what is accepted, and what a person is told when it is not."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from lathe.compress.stage import AnyStep
from lathe.core.errors import RecipeError
from lathe.core.recipe import differences, dump, options, override, parse, read_toml, recipe


@recipe
class Round:
    kind: Literal["round"] = "round"
    radius: float = Field(1.0, gt=0)
    """How wide."""


@recipe
class Square:
    kind: Literal["square"] = "square"
    side: int = 2


AnyShape = Annotated[Round | Square, Field(discriminator="kind")]


@recipe
class Drawing:
    base: Path
    """Where it is."""
    shape: AnyShape = Square()
    """What to draw."""
    more: tuple[AnyShape, ...] = ()
    name: str | None = None


def test_a_recipe_round_trips_through_json():
    drawing = parse(Drawing, {"base": "x", "shape": {"kind": "round", "radius": 2}, "more": [{"kind": "square"}]})
    assert parse(Drawing, dump(drawing)) == drawing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base": "x", "shap": 1}, "shap: no such option; did you mean 'shape'"),
        ({"base": "x", "shape": {"radius": 1}}, "shape.radius: no such option here; shape.kind=round has it"),
        ({"base": "x", "shape": {"kind": "round", "radus": 1}}, "shape.radus: no such option; did you mean 'radius'"),
        (
            {"base": "x", "shape": {"kind": "sqare"}},
            "shape.kind: 'sqare' is not one of round, square; did you mean 'square'",
        ),
        ({"base": "x", "more": [{"side": 1}]}, "more.0.kind: this option is required"),
        ({}, "base: this option is required"),
        (
            {"base": "x", "shape": {"kind": "round", "radius": -1}},
            "shape.radius: Input should be greater than 0 .got -1",
        ),
        ({"base": "x", "shape": "sqare"}, "shape.kind: 'sqare' is not one of round, square; did you mean 'square'"),
        ({"base": "x", "shape": {"side": True}}, r"shape.side: takes a number \(got true\)"),
        ({"base": "x", "more": ["round", {"kind": "square", "side": True}]}, "more.1.side: takes a number"),
    ],
)
def test_every_mistake_is_named_with_the_way_out(values, message):
    with pytest.raises(RecipeError, match=message):
        parse(Drawing, values)


def test_options_of_the_default_kind_need_no_kind():
    assert parse(Drawing, {"base": "x", "shape": {"side": 5}}).shape == Square(side=5)


def test_a_component_without_options_goes_by_its_kind():
    drawing = parse(Drawing, {"base": "x", "shape": "round", "more": ["square", {"kind": "round"}]})
    assert drawing.shape == Round() and drawing.more == (Square(), Round())


def test_kinds_are_filled_in_below_the_members_of_a_list():
    train = {"optimizer": "muon", "lr_scheduler": "cosine"}
    steps = [{"kind": "distill", "student": "layers", "train": train}, "int8"]
    first, second = parse(tuple[AnyStep, ...], steps)
    assert (first.train.optimizer.kind, first.train.lr_scheduler.kind, second.kind) == ("muon", "cosine", "int8")


def test_assignments_are_toml_values_or_else_strings():
    values = override({"base": "x"}, ["shape.side=5", "shape.kind=square", "name=good film", "more=[]"])
    assert values == {"base": "x", "shape": {"side": 5, "kind": "square"}, "name": "good film", "more": []}


def test_an_assignment_below_a_value_is_refused():
    with pytest.raises(RecipeError, match="'base' already has the value 'x'"):
        override({"base": "x"}, ["base.y=1"])


def test_help_lists_every_option_with_type_default_and_line():
    lines = {option.name: option for option in options(Drawing)}
    assert list(lines) == ["base", "shape", "shape[round].radius", "shape[square].side", "more", "more[round].radius",
                           "more[square].side", "name"]  # fmt: skip
    assert lines["shape"].type == "kind: round | square"
    assert lines["shape"].default == "square"
    assert lines["base"].default == "required"
    assert lines["shape[round].radius"].help == "How wide."


def test_differences_name_the_fields():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2 -> 3"]


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "story.toml").write_text("a = \n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"story\.toml: "):
        read_toml(tmp_path / "story.toml")
    with pytest.raises(RecipeError, match="did you mean 'story.toml'"):
        read_toml(tmp_path / "storry.toml")
