"""The wire format of what the page asks: the models that are served, and the traffic of the last seconds."""

from pydantic import Field

from lathe.serve.schema import Object


class Parent(Object):
    name: str
    digest: str
    stage: str
    scores: dict[str, float]


class ModelAbout(Object):
    name: str
    version: str = Field(description="The beginning of the digest.")
    tasks: list[str]
    labels: list[str]
    rows: list[list[str]] = Field(description="The fields of each form of its rows.")
    mask: str | None = Field(description="How a mask is written in a text.")
    writes: bool
    digest: str | None
    stage: str | None = Field(description="The verb that has made it.")
    runtime: str | None
    precision: str | None
    size_bytes: int | None = Field(description="Of the files that the runtime reads.")
    scores: dict[str, float] = Field(description="As the manifest has them.")
    parents: list[Parent] = Field(description="What it was made from, the nearest first.")


class About(Object):
    version: str = Field(description="Of Lathe.")
    feedback: bool = Field(description="Whether corrections are kept.")
    rows: int = Field(description="Most rows of a request.")
    characters: int = Field(description="Most characters of a row.")
    new_tokens: int = Field(description="Most tokens that a request may let a model write.")
    models: list[ModelAbout]


class Latency(Object):
    requests: int = Field(description="Within the window.")
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Second(Object):
    ago_s: int
    statuses: dict[str, int] = Field(description="Status -> requests.")


class ModelTraffic(Latency):
    model: str
    waiting_tokens: int


class Traffic(Latency):
    window_s: int
    in_flight: int
    seconds: list[Second] = Field(description="Those in which a request ended, the oldest first.")
    models: list[ModelTraffic]
