"""Networks from before the Transformer, as baselines: Bengio's neural n-gram model and an LSTM.

They are causal language models with a Hugging Face face: whoever imports ``lathe.models`` opens them with
``AutoModelForCausalLM``. Shapes: B rows, T positions, V vocabulary, M width of an embedding, D width of what the last
layer reads.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutput
from transformers.utils.generic import can_return_tuple

from lathe.core.profile import count
from lathe.core.types import IGNORE


class NeuralNGramConfig(PreTrainedConfig):
    model_type: ClassVar[str] = "lathe-neural-ngram"
    vocab_size: int = 32000  # V
    order: int = 5  # an n-gram of this many words: order - 1 before the one that is predicted
    embedding_size: int = 128  # M
    hidden_size: int = 256  # of the layer between
    direct: bool = False  # whether embeddings also reach the output directly
    dropout: float = 0.0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False
    use_cache: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None


class LSTMConfig(PreTrainedConfig):
    model_type: ClassVar[str] = "lathe-lstm"
    vocab_size: int = 32000  # V
    embedding_size: int = 256  # M = D, so that words in and words out can share a table
    hidden_size: int = 512  # of the state; of the last layer projected to M, where they differ
    num_hidden_layers: int = 2
    dropout: float = 0.1
    initializer_range: float = 0.1  # states are at most 1: with 0.02 the first scores would all but agree
    tie_word_embeddings: bool = True
    use_cache: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None


class _CausalLM(PreTrainedModel, GenerationMixin):
    """What both share: an embedding of words, states, and a score of each word. No state is kept from call to call."""

    base_model_prefix = ""
    _supports_cache_class = False

    def states(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """[B, T] -> [B, T, D]: at each position what is known after its word."""
        raise NotImplementedError

    def get_input_embeddings(self) -> Any:
        return self.embed_tokens

    def get_output_embeddings(self) -> Any:
        return self.lm_head

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,  # [B, T] 0 where a row is padded, on either side
        labels: Tensor | None = None,  # the input itself: shifted here, as transformers does
        logits_to_keep: int = 0,  # of so many last positions; 0: of all
        use_cache: bool | None = None,  # there is none
    ) -> CausalLMOutput:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        logits = self.lm_head(self.states(input_ids, mask)[:, -logits_to_keep:])  # [B, T, V]
        if labels is None:
            return CausalLMOutput(None, logits)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORE)
        return CausalLMOutput(loss, logits)


class NeuralNGramForCausalLM(_CausalLM):
    """The neural n-gram model (Bengio et al., 2003): y = b + U tanh(d + H x), and with ``direct`` W x besides.

    x are the embeddings of the last order - 1 words; a vector of its own stands for what is before the row.
    """

    config_class = NeuralNGramConfig

    def __init__(self, config: NeuralNGramConfig) -> None:
        super().__init__(config)
        width = (config.order - 1) * config.embedding_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.before = nn.Parameter(torch.zeros(config.embedding_size))
        self.hidden = nn.Linear(width, config.hidden_size)  # H, d
        self.dropout = nn.Dropout(config.dropout)
        self.lm_head = nn.Linear(config.hidden_size + config.direct * width, config.vocab_size)  # U with W, b
        self.post_init()

    def states(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        words = torch.where(mask[..., None] == 1, self.embed_tokens(input_ids), self.before)  # [B, T, M]
        earlier = self.before.expand(len(words), self.config.order - 2, -1)
        padded = torch.cat((earlier, words), 1)  # [B, order - 2 + T, M]
        x = padded.unfold(1, self.config.order - 1, 1).transpose(2, 3).flatten(2)  # [B, T, (order - 1) M]
        inner = self.dropout(torch.tanh(self.hidden(x)))
        return torch.cat((inner, x), -1) if self.config.direct else inner


class LSTMForCausalLM(_CausalLM):
    """An LSTM language model (Sundermeyer et al., 2012; dropout between layers only, Zaremba et al., 2014)."""

    config_class = LSTMConfig
    _tied_weights_keys = {"lm_head.weight": "embed_tokens.weight"}

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = nn.LSTM(
            config.embedding_size,
            config.hidden_size,
            config.num_hidden_layers,
            batch_first=True,
            dropout=config.dropout if config.num_hidden_layers > 1 else 0.0,
        )
        same = config.hidden_size == config.embedding_size
        self.project = nn.Identity() if same else nn.Linear(config.hidden_size, config.embedding_size)
        self.lm_head = nn.Linear(config.embedding_size, config.vocab_size, bias=False)
        self.post_init()

    def states(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        places = (torch.arange(mask.shape[1], device=mask.device) + mask.argmax(1, keepdim=True)) % mask.shape[1]
        from_left = input_ids.gather(1, places)  # rows that are padded on the left start at the left, too  [B, T]
        weights = sum(parameter.numel() for parameter in self.lstm.parameters())
        count(2 * mask.numel() * weights * (3 if torch.is_grad_enabled() else 1))  # unknown to torch
        found, _ = self.lstm(self.dropout(self.embed_tokens(from_left)))
        found = self.project(self.dropout(found))  # [B, T, M]
        return torch.empty_like(found).scatter(1, places[..., None].expand_as(found), found)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.LSTM):
            bound = module.hidden_size**-0.5
            for parameter in module.parameters():
                init.uniform_(parameter, -bound, bound)


MODELS: dict[type[PreTrainedConfig], Any] = {
    NeuralNGramConfig: NeuralNGramForCausalLM,
    LSTMConfig: LSTMForCausalLM,
}


def register() -> None:
    """Make ``AutoConfig`` and ``AutoModelForCausalLM`` know them; more than once does no harm."""
    for config, model in MODELS.items():
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModelForCausalLM.register(config, model, exist_ok=True)
