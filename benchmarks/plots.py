"""Draw the result files as one page that stands alone.

python benchmarks/plots.py      writes docs/plots.html
"""

import json
import statistics
from typing import Any

from common import RESULTS, ROOT

from lathe.core.charts import Bar, Reference, Series, interval_bars, line_chart
from lathe.core.html import Section, figure, page


def main() -> None:
    drawn = [section(_read(name)) for name, section in SECTIONS.items() if (RESULTS / f"{name}.json").is_file()]
    file = ROOT / "docs" / "plots.html"
    file.write_text(
        page("Lathe beside its peers", drawn, "Each figure with the file and the command it comes from."), "utf-8"
    )
    print(file)


def _read(name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return values


def characters(result: dict[str, Any]) -> Section:
    names = {"lathe": "Lathe", "trainer": "Trainer, best rate", "trainer at nanoGPT's rate": "Trainer, nanoGPT's rate"}
    curves = {names[name]: points for name, points in result["curves"].items()}
    target = [Reference("target", result["target_nats"])]
    by_time = [Series(name, [(p["seconds"], p["loss"]) for p in points]) for name, points in curves.items()]
    by_tokens = [Series(name, [(p["tokens"] / 1e3, p["loss"]) for p in points]) for name, points in curves.items()]
    return Section(
        "A language model of characters",
        [
            figure(
                line_chart(by_time, "seconds of training", "validation loss, nats", target),
                f"Tiny Shakespeare, GPT-2 of 4 layers and width 128, {_processor(result)}; median of 3 rounds "
                f"{result['median_ratio']:.1f} times sooner at the target than the peer at the best of its settings "
                "(python benchmarks/bench_characters.py).",
            ),
            figure(
                line_chart(by_tokens, "thousand characters read", "validation loss, nats", target),
                "The same curves by what has been read: Muon learns more from a character.",
            ),
        ],
    )


def finetune_speed(result: dict[str, Any]) -> Section:
    rates = {
        "Lathe": result["lathe_rows_per_second"],
        "Trainer, bf16 and lengths grouped": result.get("trainer_best_rows_per_second"),
        "Trainer, its defaults": result["trainer_rows_per_second"],
    }
    bars = [
        Bar(name, sorted(values)[len(values) // 2], min(values), max(values))
        for name, values in rates.items()
        if values
    ]
    return Section(
        "Fine-tuning",
        [
            figure(
                interval_bars(bars, "rows a second"),
                f"SST-2 sentences, 22M parameters, 32 rows a step, {_processor(result)}; 5 interleaved rounds of 60 "
                f"steps, median, least and most; {result['lathe_fraction_of_bf16_peak']:.0%} of the machine's peak "
                "in bf16 (python benchmarks/bench_finetune.py speed).",
            )
        ],
    )


def finetune_race(result: dict[str, Any]) -> Section:
    names = {
        "lathe_best": "Lathe, best setting",
        "lathe": "Lathe, its defaults",
        "trainer_best": "Trainer, best setting",
        "trainer": "Trainer, its defaults",
    }
    series = []
    for side, name in names.items():
        of_side, pace = result["curves"][side], statistics.median(result["seconds_a_step"][side])
        means = (statistics.mean(point["accuracy"] for point in points) for points in zip(*of_side, strict=True))
        series.append(Series(name, [(p["step"] * pace, mean) for p, mean in zip(of_side[0], means, strict=True)]))
    return Section(
        "Time to accuracy",
        [
            figure(
                line_chart(
                    series,
                    "seconds of training",
                    "accuracy, validation and test rows",
                    [Reference("the default peer's end", result["target_accuracy"])],
                ),
                f"SST-2 sentences, 22M parameters, {_processor(result)}; means over seeds. The target is reached "
                f"{result['best_to_default']:.1f} times sooner than by the peer's defaults, "
                f"{result['best_to_best']:.1f} times sooner than by its best of nine settings (python "
                "benchmarks/bench_race.py).",
            )
        ],
    )


def shakespeare(result: dict[str, Any]) -> Section:
    curve = [(point["seconds"], point["loss"]) for point in result["network_alone"]["curve"]]
    seconds, blocks = (statistics.median(run[name] for run in result["hybrid"]) for name in ("seconds", "blocks"))
    known = [Reference("nanoGPT", result["nanogpt_on_an_a100"])]
    return Section(
        "Tiny Shakespeare in characters",
        [
            figure(
                line_chart(
                    [Series("a network alone", curve)], "seconds of training", "loss of held-out blocks, nats", known
                ),
                f"The last tenth of the text in blocks of 256 characters, {_processor(result)}; nanoGPT had 3 "
                f"minutes of an A100. n-grams with a network beside them: {blocks:.3f} after {seconds:.0f} seconds "
                "(python benchmarks/bench_shakespeare.py).",
            )
        ],
    )


def _processor(result: dict[str, Any]) -> str:
    return str(result["versions"]["processor"])


SECTIONS = {
    "characters": characters,
    "shakespeare": shakespeare,
    "finetune_speed": finetune_speed,
    "finetune_race": finetune_race,
}

if __name__ == "__main__":
    main()
