"""What a request in the dialect of Hugging Face holds: inputs, and the parameters of each task."""

from typing import Annotated, Any, Literal

from pydantic import Field

from lathe.serve.dialects.common import VectorOptions, Writing
from lathe.serve.dialects.tei import SentencesBody
from lathe.serve.schema import ContextRow, Object, Off, One, PairRow

Texts = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class Body(VectorOptions):
    """A request; which parameters there are depends on the task."""

    inputs: Annotated[str, Field(min_length=1)] | Texts | ContextRow | SentencesBody | PairRow
    parameters: dict[str, Any] = {}
    stream: bool | None = False
    encoding_format: Literal["float"] | None = None


class Classified(Object):
    top_k: int | None = Field(None, ge=1)
    function_to_apply: Literal["softmax", "sigmoid"] | None = None


class TokenClassified(Object):
    aggregation_strategy: Literal["simple", "first", "average", "max"] | None = None
    ignore_labels: Annotated[list[str], Field(max_length=1000)] = []


class Answered(Object):
    top_k: int | None = Field(None, ge=1, le=100)
    max_answer_len: int | None = Field(None, ge=1)
    handle_impossible_answer: bool | None = None


class Zero(Object):
    candidate_labels: Texts
    multi_label: bool = False
    hypothesis_template: str = "This example is {}."


class Filled(Object):
    top_k: int | None = Field(None, ge=1)
    targets: Texts | None = None


class Nothing(Object):
    """No parameters."""


class Transformed(Writing):
    max_new_tokens: int | None = Field(None, ge=1)
    do_sample: bool | None = None
    generate_parameters: "Transformed | None" = None
    clean_up_tokenization_spaces: bool | None = Field(None, description="Changes nothing: texts have their blanks.")
    truncation: Literal["longest_first", "only_first", "do_not_truncate"] | None = None


class Written(Writing):
    max_new_tokens: int | None = Field(None, ge=1)
    do_sample: bool | None = None
    stop: Annotated[list[str], Field(max_length=16)] | None = None
    stop_sequences: Annotated[list[str], Field(max_length=16)] | None = None
    return_full_text: bool | None = None
    details: bool | None = None
    decoder_input_details: Off = None
    watermark: Off = None
    best_of: One = None
    typical_p: float | None = Field(None, gt=0, le=1, description="Of drawn texts only 1.")
