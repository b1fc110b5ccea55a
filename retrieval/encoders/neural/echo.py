"""Echo: a causal language model reads a text twice, and each token of the second reading has seen all of it."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval.encoders.layout import OURS, Part
from retrieval.encoders.models import quiet
from retrieval.encoders.neural.side import Side, auto, load_tokenizer, write_json
from retrieval.errors import InputError, MissingExtraError

__all__ = ["EchoSide"]


class EchoSide(Side):
    """Any causal language model: its input is a beginning, the text, a separator and the text; the mask stays causal.

    Only the second text's tokens are pooled. The projection is made that of the input embeddings, unless the part says
    otherwise.

    Source: Doshi et al., Mistral-SPLADE (2024); for the echo Springer et al., Repetition improves language model
    embeddings (2024).
    """

    @classmethod
    def load(cls, part: Part, *, name: str, prompt: str = "", precision: str = "float32") -> "EchoSide":
        """Read model, tokenizer, and adapters if there are any; then these alone can be trained.

        Raises:
            MissingExtraError: transformers, or peft for adapters, is not installed.
            ModelError: a file is missing or cannot be read.
        """
        model, _ = auto("AutoModelForCausalLM", part.base or part.folder, name, precision)
        if part.tied:
            model.get_output_embeddings().weight = model.get_input_embeddings().weight
            model.config.tie_word_embeddings = True
        # Keys and values of earlier tokens are for writing on, and nothing is written.
        model.config.use_cache = False
        if part.base:
            with _no_warnings():
                model = _peft().PeftModel.from_pretrained(model, str(part.folder), is_trainable=True)
        return cls(model, load_tokenizer(part.words, name), part, name=name, prompt=prompt)

    def add_lora(self, r: int, alpha: int, dropout: float) -> None:
        """Freeze the model, and put low-rank adapters on all its linear maps but the projection.

        Raises:
            InputError: it has adapters.
            MissingExtraError: peft is not installed.
        """
        if self.part.base:
            raise InputError(f"model {self.name!r} has adapters already")
        base = self.part.folder
        base_name = self.part.base_name or str(base)
        lora = _peft().LoraConfig(
            r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        with _no_warnings():
            self.headless.model = _peft().get_peft_model(self.headless.model, lora)
        # Where others find it, which is not where a hub's files are kept here.
        self.headless.model.peft_config["default"].base_model_name_or_path = base_name
        self.part = replace(self.part, base=base, base_name=base_name)

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids (n, length), an attention mask, and `pooled`, which marks the second reading."""
        found = self.tokenizer(
            [self.prompt + text for text in texts],
            add_special_tokens=False,
            truncation=True,
            max_length=self.max_length,
        )["input_ids"]
        first, between = self._template()
        # A row of nothing but padding would make the attention's softmax a division by zero.
        rows = [[*first, *tokens, *between, *tokens] or [self._padding] for tokens in found]
        width = max(map(len, rows), default=0)
        ids = torch.full((len(rows), width), self._padding, dtype=torch.long)
        mask, pooled = torch.zeros_like(ids), torch.zeros_like(ids)
        for i, (row, tokens) in enumerate(zip(rows, found, strict=True)):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[i, : len(row)] = 1
            pooled[i, len(row) - len(tokens) : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask, "pooled": pooled}

    def _template(self) -> tuple[list[int], list[int]]:
        """Token ids before the first reading and between the two."""
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        between = self.tokenizer(self.part.separator, add_special_tokens=False)["input_ids"]
        # A vocabulary of words alone has no token for a line's end.
        return [] if begin is None else [begin], between or ([] if end is None else [end])

    @property
    def _padding(self) -> int:
        """Any token will do: it is masked."""
        return self.tokenizer.pad_token_id or 0

    def save(self, folder: Path) -> None:
        """Write the model, or its adapters alone, with its tokenizer and what says how to read it."""
        options: dict[str, Any] = {"save_embedding_layers": False} if self.part.base else {}
        with quiet():
            self.headless.model.save_pretrained(folder, **options)
            self.tokenizer.save_pretrained(folder)
        names = ("kind", "max_length", "pooling", "activation", "separator", "tied")
        described = {name: getattr(self.part, name) for name in names}
        write_json(folder / OURS, {"document": described, "prompts": self._prompts()})

    def _prompts(self) -> dict[str, str]:
        return dict.fromkeys(("query", "document"), self.prompt) if self.prompt else {}


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Of names that peft still uses and transformers has given others: nothing a caller can do about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("peft", "models", "adapters of a model") from error
    return peft
