"""A dense encoder that can be trained: sentence-transformers' modules, for queries and documents alike or for each."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from retrieval.encoders.dense import check_pooled, is_two, prompt_of
from retrieval.encoders.models import locate, model_name, quiet, weights_digest
from retrieval.encoders.neural.recomputing import recomputed
from retrieval.errors import InputError, MissingExtraError, ModelError

__all__ = ["SIDES", "DualEncoder", "Features"]

SIDES = ("query", "document")

Features = Mapping[str, Tensor]
"""What a tokenizer makes of some texts."""


class DualEncoder(nn.Module):
    """A model whose vectors are compared by cosine or by inner product.

    Both sides are one until `with_query_side`. `forward` takes all the texts of a step in several chunks, so that a
    wrapper for several processes is called once for each backward pass.
    """

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        self.inner, self.name = model, name
        self.similarity = str(model.similarity_fn_name or "cosine")
        if self.similarity not in ("cosine", "dot"):
            raise ModelError(f"model {name!r} compares vectors by {self.similarity}; an index knows cosine and dot")
        self._check_tokens()

    @classmethod
    def load(cls, source: str, name: str | None = None, device: str | None = None) -> Self:
        """Load `minilm`, a folder or a model of the hub, in float32.

        Raises:
            MissingExtraError: sentence-transformers is not installed.
            ModelError: it cannot be found or read, says not how token vectors become one, has a tokenizer of another
                vocabulary, or compares vectors by a distance.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("sentence-transformers", "models", "training") from error
        name, folder = name or model_name(source), locate(source)
        if Path(folder).is_dir() and not (Path(folder) / "modules.json").is_file():
            raise ModelError(
                f"model {name!r} does not say how token vectors become one: there is no modules.json",
                hint="name a model of sentence-transformers; theirs save one: models.Transformer and models.Pooling",
            )
        try:
            with quiet():
                model = SentenceTransformer(folder, device=device)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"model {name!r} cannot be loaded: {error}", hint="name a local folder, a Hugging Face id, or minilm"
            ) from error
        check_pooled(model, name)
        return cls(model.float(), name)

    def _check_tokens(self) -> None:
        """An error where the tokenizer has tokens that the model has no embedding of."""
        for part in self.inner.modules():
            embedded = getattr(getattr(part, "config", None), "vocab_size", None)
            tokens = len(part.tokenizer) if embedded and hasattr(part, "tokenizer") else 0
            if embedded and tokens > embedded:
                raise ModelError(
                    f"model {self.name!r} has a tokenizer of {tokens} tokens, and embeddings of {embedded}",
                    hint="save the tokenizer that the model was trained with beside it",
                )

    @property
    def is_two(self) -> bool:
        """Whether queries have a model of their own."""
        return is_two(self.inner)

    @property
    def dimensions(self) -> int:
        """Width of a vector."""
        return int(self.inner.get_embedding_dimension())

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.parameters()).device

    def side(self, name: str) -> nn.Module:
        """The modules of one side, in the names that a model of that side alone has."""
        if not self.is_two:
            return nn.Sequential(*self.inner)
        return nn.Sequential(*self.inner[0].sub_modules[name], *list(self.inner)[1:])

    def digest(self, side: str = "document") -> str:
        """One digest of the weights of a side."""
        return weights_digest(self.side(side))

    def with_query_side(self) -> Self:
        """This model with a query side of its own, at first equal to the document side, which learns no more."""
        if not self.is_two:
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.sentence_transformer.modules import Router

            documents = list(self.inner)
            router = Router.for_query_document(copy.deepcopy(documents), documents)
            kept = {
                name: getattr(self.inner, name) for name in ("prompts", "default_prompt_name", "similarity_fn_name")
            }
            self.inner = SentenceTransformer(modules=[router], device=str(self.device), **kept)
        for module in self.inner[0].sub_modules["document"]:
            module.requires_grad_(False)
        return self

    def with_lora(self, r: int, *, alpha: int | None = None, dropout: float = 0.0) -> Self:
        """This model, frozen but for new low-rank adapters of all linear maps; `save` adds them to the weights.

        Source: Hu et al., LoRA (2021).

        Raises:
            MissingExtraError: peft is not installed.
        """
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise MissingExtraError("peft", "train", "low-rank adapters") from error
        trained = [name for name, p in self.inner.named_parameters() if p.requires_grad]
        self.inner.requires_grad_(False)
        linear = [
            name
            for name, module in self.inner.named_modules()
            if isinstance(module, nn.Linear) and f"{name}.weight" in trained and "pooler" not in name
        ]
        config = LoraConfig(r=r, lora_alpha=alpha or 2 * r, lora_dropout=dropout, target_modules=linear)
        inject_adapter_in_model(config, self.inner)
        return self

    def max_length(self, side: str) -> int:
        """Tokens of a text that one side reads."""
        return int(self._first(side).max_seq_length or 512)

    def _first(self, side: str) -> Any:
        if side not in SIDES:
            raise InputError(f"no side {side!r}", hint=f"name one of {', '.join(SIDES)}")
        return self.inner[0].sub_modules[side][0] if self.is_two else self.inner[0]

    def tokenize(self, texts: Sequence[str], side: str, max_length: int | None = None) -> dict[str, Any]:
        """What `forward` reads, on the CPU, each text cut at `max_length` tokens where the model reads more."""
        part = self._first(side)
        before = part.max_seq_length
        if max_length and (before is None or max_length < before):
            part.max_seq_length = max_length
        try:
            features: dict[str, Any] = self.inner.preprocess(list(texts), prompt=prompt_of(self.inner, side), task=side)
        finally:
            part.max_seq_length = before
        return features

    def forward(self, chunks: Sequence[tuple[Features, str]], *, cached: bool = False) -> list[Tensor]:
        """(n, d) float32 vectors of each chunk of features and side, of length 1 where cosines compare them.

        With `cached`, nothing but the vectors is kept for the backward pass, which computes one chunk at a time again.
        Source: Gao et al., Scaling deep contrastive learning batch size under memory limited setup (2021).
        """
        if cached:
            return [recomputed(self.side(side), self._vectors, features, side) for features, side in chunks]
        return [self._vectors(features, side) for features, side in chunks]

    def _vectors(self, features: Features, side: str) -> Tensor:
        device = self.device
        placed = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}
        vectors: Tensor = self.inner(placed, task=side)["sentence_embedding"].float()
        return nn.functional.normalize(vectors) if self.similarity == "cosine" else vectors

    def save(self, folder: Path) -> None:
        """Write a folder that `retrieval` and sentence-transformers load."""
        from peft.tuners.lora import LoraLayer

        model = self.inner
        if any(isinstance(module, LoraLayer) for module in model.modules()):
            model = _merged(copy.deepcopy(model))
        with quiet():
            model.save_pretrained(str(folder), create_model_card=False)


def _merged(model: Any) -> Any:
    """A model whose adapters have become part of its weights."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
    return model
