"""A discriminator with its generator beside it (Clark et al., 2020), as one model to train and two folders to keep."""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining, ElectraPreTrainedModel

GENERATOR = "generator"
"""Folder of the generator in that of the discriminator."""


class ElectraPair(ElectraPreTrainedModel):
    """Both read the same embeddings. What is saved opens as the discriminator; the generator is kept in it."""

    def __init__(self, discriminator: ElectraForPreTraining, generator: ElectraForMaskedLM) -> None:
        super().__init__(discriminator.config)
        self.discriminator, self.generator = discriminator, generator
        generator.electra.embeddings = discriminator.electra.embeddings
        generator.tie_weights()  # its head reads them too

    def forward(self, **inputs: Any) -> Any:
        """Those of the discriminator."""
        return self.discriminator(**inputs)

    def get_input_embeddings(self) -> nn.Module:
        return self.discriminator.get_input_embeddings()

    def save_pretrained(self, save_directory: Any, *arguments: Any, **options: Any) -> None:
        self.discriminator.save_pretrained(save_directory, *arguments, **options)
        self.generator.save_pretrained(Path(save_directory) / GENERATOR, *arguments, **options)


@dataclass(frozen=True)
class PairMaker:
    """Makes and opens pairs as Hugging Face's `AutoModel` classes do."""

    generator_size: float
    __name__ = "ElectraForPreTraining"
    _model_mapping = MappingProxyType({ElectraConfig: ElectraPair})

    def from_config(self, config: ElectraConfig) -> ElectraPair:
        return ElectraPair(ElectraForPreTraining(config), ElectraForMaskedLM(self.generator(config)))

    def from_pretrained(self, folder: Path, *, config: ElectraConfig, **options: Any) -> tuple[ElectraPair, Any]:
        """The pair of a folder; without a generator in it, one that is new."""
        opened: Any = ElectraForPreTraining.from_pretrained(folder, config=config, **options)
        discriminator, about = opened
        if (folder / GENERATOR).is_dir():
            opened = ElectraForMaskedLM.from_pretrained(folder / GENERATOR, **options)
            generator, _ = opened
        else:
            generator = ElectraForMaskedLM(self.generator(config))
        return ElectraPair(discriminator, generator), about

    def generator(self, config: ElectraConfig) -> ElectraConfig:
        """As deep as the discriminator, with a share of its width, in heads of the same width."""
        heads = max(1, round(config.num_attention_heads * self.generator_size))
        sizes = {
            "num_attention_heads": heads,
            "hidden_size": heads * (config.hidden_size // config.num_attention_heads),
            "intermediate_size": max(1, round(config.intermediate_size * self.generator_size)),
        }
        return ElectraConfig(**config.to_dict() | sizes)
