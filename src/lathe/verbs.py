"""The subcommands, as data: read by the command line and by stories, without importing any of them."""

from typing import NamedTuple


class Verb(NamedTuple):
    """One subcommand: the package that has its ``Recipe`` and ``run``, and how it is called."""

    package: str
    purpose: str
    positional: tuple[str, ...] = ()  # options that may be given without their name; the last may repeat: "x..."
    out: str = "required"  # -o: "required", "optional", a default folder, or "" where the verb writes nothing
    named: bool = False  # whether what may repeat may be NAME=FOLDER, too, where NAME is no option
    together: bool = False  # whether torchrun may start it in several processes


VERBS = {
    "quickstart": Verb(
        "lathe.stories.quickstart", "make a small model from real text on this machine", (), "runs/quickstart"
    ),
    "run": Verb("lathe.stories", "run a story: several stages, one after the other", ("story",)),
    "corpus": Verb("lathe.corpus", "text files in, clean split text without duplicates out"),
    "tokenizer": Verb("lathe.tokenizer", "train a tokenizer and report how well it fits"),
    "pack": Verb("lathe.tokenizer.pack", "turn text into memory-mapped rows of tokens", ("text", "tokenizer")),
    "extend": Verb("lathe.tokenizer.extend", "give a language model pieces for the words of a new text", ("bundle",)),
    "pretrain": Verb("lathe.pretrain", "train a language model, from scratch or continued", together=True),
    "ngram": Verb("lathe.pretrain.ngram", "count an n-gram language model: the baseline of networks"),
    "vectors": Verb("lathe.pretrain.vectors", "learn a vector for each word, from the words around it"),
    "mix": Verb(
        "lathe.pretrain.mixture", "join a network and an n-gram model of its tokenizer into one", ("network", "ngram")
    ),
    "hybrid": Verb(
        "lathe.pretrain.hybrid", "count n-grams and train a network beside them: one language model of both"
    ),
    "perplexity": Verb(
        "lathe.evaluate.language",
        "score language models of any kind on one text, side by side",
        ("data.test", "bundles..."),
    ),
    "negatives": Verb(
        "lathe.negatives", "give rows of queries texts that are hard to tell from what they seek", ("data.file",)
    ),
    "finetune": Verb("lathe.finetune", "train a model for a task on labelled rows", together=True),
    "multitask": Verb(
        "lathe.finetune.multitask", "train one encoder for several tasks at once, a head for each", together=True
    ),
    "compress": Verb("lathe.compress", "make a model smaller and faster, and measure what it costs"),
    "evaluate": Verb(
        "lathe.evaluate", "score a model on a labelled file, with intervals, size and speed", ("bundle", "data.test")
    ),
    "predict": Verb("lathe.predict", "answer every row of a file", ("bundle", "data.file"), "optional"),
    "generate": Verb(
        "lathe.generate", "go on from a prompt, or answer it; or every row of a file", ("bundle", "prompt"), "optional"
    ),
    "serve": Verb("lathe.serve", "serve models over HTTP", ("bundle...",), "", named=True),
    "feedback": Verb(
        "lathe.feedback", "what people said of served answers, as rows to train on", ("store",), "optional"
    ),
    "check": Verb(
        "lathe.inspect.check", "look at a data file or a recipe before anything is trained", ("data.file",), ""
    ),
    "plan": Verb(
        "lathe.plan", "tell what a training recipe needs, in memory and time, before it is run", ("recipe",), ""
    ),
    "profile": Verb("lathe.profile", "tell where the time of a training step goes on this machine", ("recipe",), ""),
    "adopt": Verb("lathe.inspect.adopt", "turn a Hugging Face folder into a bundle", ("folder",)),
    "show": Verb("lathe.inspect.show", "tell what a bundle is and where it comes from", ("bundle",), ""),
}
