"""A decoder of a user's own, with one habit at a time that decoders need not have."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from commutes import Network
from tests.network.transformers import models as M

WIDTH = 8


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, depth: int = 3, **rest: Any) -> None:
        self.num_hidden_layers, self.num_attention_heads, self.hidden_size = depth, 1, WIDTH
        self.vocab_size, self.max_position_embeddings = M.VOCABULARY, 24
        super().__init__(**rest)


class OwnBlock(nn.Module):
    def __init__(self, index: int, habit: str) -> None:
        super().__init__()
        self.index, self.habit = index, habit
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.mlp = nn.Linear(WIDTH, WIDTH)

    def forward(
        self,
        hidden_states: torch.Tensor,
        mask: torch.Tensor,
        table: torch.Tensor | None = None,
        skip: torch.Tensor | None = None,
        past_key_values: Any = None,
    ) -> Any:
        x = hidden_states if table is None else hidden_states + table
        x = x if skip is None else x + skip
        key, value = self.key(x).unsqueeze(1), self.value(x).unsqueeze(1)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.index)
        seen = scaled_dot_product_attention(self.query(x).unsqueeze(1), key, value, attn_mask=mask).squeeze(1)
        if self.habit == "writes in place":
            hidden_states += seen
            hidden_states += torch.tanh(self.mlp(hidden_states))
            return hidden_states
        x = x + seen
        x = x + torch.tanh(self.mlp(x))
        return (x, None) if self.habit == "tuples" else x


class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    _no_split_modules = ["OwnBlock"]  # noqa: RUF012

    def __init__(self, config: OwnConfig, habit: str) -> None:
        super().__init__(config)
        self.habit = habit
        self.embed, self.place = nn.Embedding(M.VOCABULARY, WIDTH), nn.Embedding(24, WIDTH)
        self.layers = nn.ModuleList(OwnBlock(i, habit) for i in range(config.num_hidden_layers))
        self.head = nn.Linear(WIDTH, M.VOCABULARY)
        self.calls = 0
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
    ) -> CausalLMOutputWithPast:
        n, q = input_ids.shape
        before = 0 if past_key_values is None else past_key_values.get_seq_length()
        if attention_mask is None:
            attention_mask = torch.ones(n, before + q, dtype=torch.long)
        if position_ids is None:
            position_ids = torch.arange(before, before + q).expand(n, q)
        rows, columns = torch.arange(before, before + q)[:, None], torch.arange(before + q)
        reach = self.config.max_position_embeddings if self.habit == "looks ahead" else 0
        mask = (columns <= rows + reach) & attention_mask[:, None, None, :].bool()
        # Padding sees itself, so that nothing is NaN.
        mask = mask | (columns == rows)
        x = self.embed(input_ids)
        table = None
        if self.habit == "table":
            table = self.place(position_ids[0])
        else:
            x = x + self.place(position_ids)
        if self.habit == "counts its runs":
            self.calls += 1
            x = x * (1 + self.calls / 100)
        skip = None
        for block in self.layers:
            last = block is self.layers[-1]
            more = {"table": table, "skip": skip if last else None, "past_key_values": past_key_values}
            out = (
                block(hidden_states=x, mask=mask, **more)
                if self.habit == "by name"
                else block(x, mask, **more)
            )
            x = out[0] if isinstance(out, tuple) else out
            if self.habit == "feeds the last" and block is self.layers[0]:
                skip = x
        return CausalLMOutputWithPast(logits=self.head(x))  # type: ignore[arg-type]


def model(habit: str = "", *, depth: int = 3) -> OwnModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = OwnModel(OwnConfig(depth), habit)
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.6)
    return made.double().eval()


def network(habit: str = "", *, depth: int = 3) -> Network:
    return Network(model(habit, depth=depth), M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
