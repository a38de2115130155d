"""Text from causal and sequence-to-sequence models."""

from lathe.generation.forward import WritingForward, prompt_of
from lathe.generation.generator import Generator, Prompt, load_generator, refuse_silent
from lathe.generation.options import LEAST_TEMPERATURE, AnyDecoding, Beam, Generation, Greedy, Sample, beams_of
from lathe.generation.writing import Generated, Write, text_of

__all__ = [
    "LEAST_TEMPERATURE",
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
    "beams_of",
    "load_generator",
    "prompt_of",
    "refuse_silent",
    "text_of",
]
