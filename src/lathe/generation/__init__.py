"""Text from causal and sequence-to-sequence models."""

from lathe.generation.forward import WritingForward, prompt_of
from lathe.generation.generator import Generator, Prompt, load_generator, refuse_silent
from lathe.generation.options import AnyDecoding, Beam, Generation, Greedy, Sample
from lathe.generation.writing import Generated, Write, text_of

__all__ = [
    "AnyDecoding",
    "Beam",
    "Generated",
    "Generation",
    "Generator",
    "Greedy",
    "Prompt",
    "Sample",
    "Write",
    "WritingForward",
    "load_generator",
    "prompt_of",
    "refuse_silent",
    "text_of",
]
