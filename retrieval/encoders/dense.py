"""Dense encoders: any model that sentence-transformers loads."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.layout import is_classifier
from retrieval.encoders.models import check_card, locate, model_name, quiet, snapshot, use_of, weights_digest
from retrieval.encoders.runtimes.bodies import Body, body_of, example_of
from retrieval.encoders.runtimes.openvino_body import OpenVinoBody
from retrieval.encoders.runtimes.pipeline import run_model
from retrieval.encoders.runtimes.precision import Choice, choose
from retrieval.encoders.runtimes.quantising import (
    CALIBRATED_BY,
    CHECKED_BY,
    cosines,
    int8_body,
    kept_by_digest,
    reading,
)
from retrieval.errors import InputError, MissingExtraError, ModelError
from retrieval.types import EncoderCard, ModelUse

__all__ = ["DenseEncoder", "check_card", "check_pooled", "is_two", "load_encoder", "prompt_of"]

_LOG = logging.getLogger("retrieval")

# Of different lengths; a model that another runtime is to run is converted and checked with them.
_EXAMPLES = ["solar wind", "what makes the sky glow at night?"]
# What prompts of documents are called in sentence-transformers; the first that a model has counts.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


def load_encoder(
    model: str,
    *,
    device: str | None = None,
    precision: str | None = None,
    runtime: str | None = None,
    dimensions: int | None = None,
    batch_tokens: int | None = None,
    expected: EncoderCard | None = None,
) -> "DenseEncoder":
    """Load `minilm`, a local folder or a model of the Hugging Face hub; on a GPU where torch sees one.

    Args:
        model: what to load.
        device: torch's name of a device; None takes the best there is.
        precision: in which documents are encoded: `fp32`, `bf16`, `fp16`, `int8`, or `auto`; None takes the expected
            one, or `auto`. Queries are encoded in float32 where another runtime than torch runs the documents.
        runtime: what runs the model: `torch`, `openvino`, `onnx`, or `auto`, which None stands for.
        dimensions: keep that many of a vector's first ones, as models that were trained for it allow; None keeps all,
            or as many as expected.
        batch_tokens: tokens that go through the model together, padding included; None takes what suits the device.
        expected: the card that an index was built with; a model whose vectors would not fit it is an error.

    Raises:
        InputError: an unknown precision or runtime, two that do not go together, or more dimensions than there are.
        MissingExtraError: sentence-transformers, or the runtime, is not installed.
        ModelError: the model cannot be found or loaded, compares vectors by a distance, is not the expected one, or
            cannot be run by the runtime that was asked for.

    Source: for dimensions Kusupati et al., Matryoshka representation learning (2022).
    """
    precision = precision or (expected.precision if expected else None)
    encoder = DenseEncoder(
        model, device=device, precision=precision, runtime=runtime, dimensions=dimensions, batch_tokens=batch_tokens
    )
    if expected:
        if dimensions is None and expected.dimensions < encoder.card.dimensions:
            encoder.card = replace(encoder.card, dimensions=expected.dimensions)
        check_card(encoder.card, expected)
        if expected.quantised and encoder.sample:
            encoder.restore(expected.quantised)
    return encoder


class DenseEncoder:
    """A sentence-transformers model, with the settings it declares: pooling, prompts, length and similarity.

    Arguments and errors are those of `load_encoder`.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        precision: str | None = None,
        runtime: str | None = None,
        dimensions: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        self._source = locate(model)  # whose package brings torch, which is asked for next
        choice = choose(precision, runtime, device)
        self._model = _load(self._source, model, choice)
        self.card = _card(self._model, model_name(model), choice, dimensions)
        self._batching = choice.batching(batch_tokens, whole=getattr(self._model[0], "can_flatten_inputs", False))
        self._body: Body | None = None
        if choice.runtime != "torch" and not (_has_transformer(self._model) or choice.asked or precision == "int8"):
            choice = replace(choice, runtime="torch")
            self.card = replace(self.card, runtime="torch")
        if choice.runtime != "torch":
            self._states = _states(self._model, model)
        if choice.runtime != "torch" and choice.precision != "int8":
            self._body = body_of(self._states, self._tokenize(_EXAMPLES, "document"), choice, model)
            self.card = replace(self.card, runtime=choice.runtime if self._body else "torch")
        if self._body is None:
            _convert(self._model, choice.floats)

    @property
    def sample(self) -> int:
        """How many texts of the corpus it wants to be calibrated by, before it encodes documents; 0 if none."""
        return CALIBRATED_BY + CHECKED_BY if self.card.precision == "int8" and self._body is None else 0

    def calibrate(self, texts: Sequence[str]) -> None:
        """Quantise the model by texts of the corpus, or take what an earlier calibration by them has left.

        A text without words says nothing; of none at all nothing can be learned, so they are taken as they come later.
        """
        if not texts or not self.sample:
            return
        self._body, calibration = int8_body(
            self._states,
            lambda some: self._tokenize(some, "document"),
            texts,
            name=self.card.model,
            weights=reading(self.card),
            source=self._source,
            near=lambda some, body: cosines(*(self._run(some, "document", by, _nobody) for by in (None, body))),
        )
        self.card = replace(self.card, quantised=calibration.quantised)
        _LOG.warning("%s", calibration)

    def restore(self, quantised: str) -> None:
        """Take the int8 model with this digest, as an index was built with it.

        Raises:
            ModelError: it is not kept any more.
        """
        path = kept_by_digest(quantised, self._source)
        self._body = OpenVinoBody(path, list(example_of(self._tokenize(_EXAMPLES, "document"))), "float32")
        self.card = replace(self.card, quantised=quantised)

    def encode_documents(self, texts: Sequence[str], on_batch: Callable[[int], None]) -> NDArray[np.float32]:
        """(n, d) vectors in the order of the texts; `on_batch` hears how many more are done.

        In int8, the first texts calibrate a model that has not been.
        """
        self.calibrate(texts[: self.sample])
        return self._run(texts, "document", self._body, on_batch)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) vectors in the order of the texts."""
        # Torch has it in float32 where a body computes in less: see `for_queries`.
        return self._run(texts, "query", self._body if self.card.precision == "float32" else None, _nobody)

    @property
    def use(self) -> ModelUse:
        """How large the model is, and where it runs."""
        return use_of(self._model)

    def _run(
        self, texts: Sequence[str], side: str, body: Body | None, on_batch: Callable[[int], None]
    ) -> NDArray[np.float32]:
        rows = run_model(
            texts,
            lambda some: self._tokenize(some, side),
            lambda features: self._vectors(features, side, body),
            lambda vectors: vectors.cpu().numpy(),
            self._batching,
            on_batch,
        )
        return np.stack(rows) if rows else np.empty((0, self.card.dimensions), dtype=np.float32)

    def _tokenize(self, texts: list[str], side: str) -> dict[str, Any]:
        features: dict[str, Any] = self._model.preprocess(texts, prompt=prompt_of(self._model, side), task=side)
        return features

    def _vectors(self, features: dict[str, Any], side: str, body: Body | None) -> Any:
        """(n, d) float32 on the device."""
        import torch
        from sentence_transformers.util import batch_to_device

        with torch.inference_mode():
            if body is None:
                found = self._model(batch_to_device(features, self._model.device), task=side)
            else:
                found = {**features, "token_embeddings": body(features)}
                for module in list(self._model)[1:]:
                    found = module(found)
            vectors = found["sentence_embedding"].float()[:, : self.card.dimensions]
            return torch.nn.functional.normalize(vectors) if self.card.similarity == "cosine" else vectors


def _nobody(done: int) -> None:
    """Tell nobody."""


def _load(source: str, name: str, choice: Choice) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("sentence-transformers", "models", "encoding") from error
    try:
        with quiet():
            model = SentenceTransformer(source, device=choice.device, model_kwargs=_attention(choice)).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"model {name!r} cannot be loaded: {error}", hint="name a local folder, a Hugging Face id, or minilm"
        ) from error
    if is_classifier(source) and not (snapshot(source)[0] / "modules.json").is_file():
        raise ModelError(
            f"model {name!r} is a cross-encoder, which gives a text no vector", hint="it reranks: --rerank MODEL"
        )
    check_pooled(model, name)
    return model


def _attention(choice: Choice) -> dict[str, str]:
    """Attention over texts side by side without padding, where a GPU and what is installed allow it."""
    from transformers.utils.import_utils import is_flash_attn_2_available

    half = choice.precision in ("bfloat16", "float16")
    flash = choice.device.startswith("cuda") and half and is_flash_attn_2_available()
    return {"attn_implementation": "flash_attention_2"} if flash else {}


def check_pooled(model: Any, name: str) -> None:
    """An error where a model of sentence-transformers makes vectors of tokens and none of a text.

    Raises:
        ModelError: it does.
    """
    named = getattr(model[0], "module_output_name", None) == "sentence_embedding"  # the transformer pools by itself
    if {type(module).__name__ for module in model} <= {"Transformer", "Normalize"} and not named:
        raise ModelError(
            f"model {name!r} does not say how token vectors become one: its modules.json names no pooling",
            hint="name a model of sentence-transformers; theirs save one: models.Transformer and models.Pooling",
        )


def is_two(model: Any) -> bool:
    """Whether queries and documents have modules of their own in a model of sentence-transformers."""
    return type(model[0]).__name__ == "Router" and "document" in model[0].sub_modules


def _has_transformer(model: Any) -> bool:
    return type(model[0]).__name__ == "Transformer"


def _states(model: Any, name: str) -> Any:
    """The part of a model that another runtime can run."""
    from retrieval.encoders.neural.states import TokenStates

    if not _has_transformer(model):
        raise ModelError(f"model {name!r} begins with no transformer: torch runs it", hint="--runtime torch")
    model.float()
    return TokenStates(model[0])


def _convert(model: Any, precision: str) -> None:
    """Set what torch computes in; what comes after the transformer stays in float32, where it costs little."""
    import torch

    dtype = getattr(torch, precision)
    if not _has_transformer(model):
        model.to(dtype)
        return
    model.float()
    if dtype == torch.float32:
        return
    model[0].to(dtype)
    model[0].register_forward_hook(lambda module, given, found: {name: _exact(value) for name, value in found.items()})


def _exact(value: Any) -> Any:
    return value.float() if getattr(value, "is_floating_point", lambda: False)() else value


def prompt_of(model: Any, side: str) -> str | None:
    """What a model of sentence-transformers declares to be put in front of a text of this side.

    Of several names for it the first that is not empty counts: sentence-transformers gives every model an empty prompt
    for `document`, also one that calls its own `passage`.
    """
    names = ("query",) if side == "query" else _DOCUMENT_PROMPTS
    declared = [name for name in names if name in model.prompts]
    found = next((name for name in declared if model.prompts[name]), None)
    prompt: str | None = model.prompts.get(found or (declared[0] if declared else model.default_prompt_name))
    return prompt


def _card(model: Any, name: str, choice: Choice, dimensions: int | None) -> EncoderCard:
    """What decides the vectors of a loaded model."""
    import torch

    similarity = str(model.similarity_fn_name or "cosine")
    if similarity not in ("cosine", "dot"):
        raise ModelError(f"model {name!r} compares vectors by {similarity}; an index knows cosine and dot")
    width = model.get_embedding_dimension()
    if dimensions is not None and not 1 <= dimensions <= width:
        raise InputError(f"model {name!r} has {width} dimensions, so {dimensions} cannot be kept")
    documents = list(model[0].sub_modules["document"]) if is_two(model) else list(model)
    pooling = [module.get_config_dict() for module in documents if type(module).__name__ == "Pooling"]
    return EncoderCard(
        model=name,
        dimensions=dimensions or width,
        similarity=similarity,
        weights=weights_digest(model),
        document_weights=weights_digest(torch.nn.Sequential(*documents, *list(model)[1:])) if is_two(model) else None,
        revision=getattr(getattr(model[0], "config", None), "_commit_hash", None),
        max_length=model.max_seq_length if isinstance(model.max_seq_length, int) else None,
        pooling=pooling[0]["pooling_mode"] if pooling else None,
        modules=tuple(type(module).__name__ for module in model),
        prompts=dict(model.prompts),
        precision=choice.precision,
        runtime=choice.runtime,
    )
