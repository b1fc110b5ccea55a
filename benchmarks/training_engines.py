"""What the training benchmark measures: our trainer, or sentence-transformers', on the same batches."""

import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.beir_eval.cost import peak_bytes

OURS, PEER = "retrieval", "sentence-transformers"

_CHECKED = 32  # pairs, at most, of which both sides' losses are compared
_TEMPERATURE = 0.05
# The trainers' defaults differ, so both are told.
_WEIGHT_DECAY, _CLIP = 0.01, 1.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained, and how, by both sides alike.

    Attributes:
        batch: queries of a step.
        cached: whether gradients are cached.
        steps: of a round.
        rounds: in which the sides take turns.
        together: texts that go through the model together, of ours; with cached gradients of both sides.
        tokens: of a query or a document.
    """

    batch: int
    cached: bool
    steps: int
    rounds: int
    together: int
    tokens: int
    model: str
    lr: float
    seed: int
    device: str
    precision: str


class Ours:
    """`dense`, by our trainer."""

    def __init__(self, task: Path, case: Case) -> None:
        from retrieval.encoders.neural.dual import DualEncoder

        self.data, self._case = _read(task), case
        self.model = DualEncoder.load(case.model, device=case.device)

    def _recipe(self, batch: int, begin: Callable[[], None] = lambda: None) -> Any:
        from retrieval.training.recipes.dense import DenseRecipe
        from retrieval.training.settings import DenseSettings

        class Recipe(DenseRecipe):
            def before_step(self, step: int) -> None:
                if step == 0:
                    begin()
                super().before_step(step)

        case = self._case
        settings = DenseSettings(
            batch=batch,
            temperature=_TEMPERATURE,
            query_length=case.tokens,
            document_length=case.tokens,
            at_once=case.together,
            cached=case.cached,
            seed=case.seed,
        )
        return Recipe(self.model, self.data, settings)

    def loss(self, batch: int) -> Any:
        """Of the first batch."""
        recipe = self._recipe(batch)
        return recipe.loss(recipe.batch(0, 0, 1), 0).total

    def train(self, out: Path, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """A round; `begin` is called before the first batch is drawn, `end` after each step."""
        from retrieval.training.settings import TrainerSettings
        from retrieval.training.trainer import train

        case = self._case
        settings = TrainerSettings(
            steps=case.steps,
            lr=case.lr,
            warmup=0,
            weight_decay=_WEIGHT_DECAY,
            clip=_CLIP,
            precision=case.precision,  # type: ignore[arg-type]
            seed=case.seed,
            checkpoint_every=0,
            device=case.device,
        )

        def progress(what: str, done: int, total: int | None) -> None:
            if what.startswith("training"):  # and, behind a comma, how it goes
                end()

        train(self._recipe(case.batch, begin), settings, out / "run", progress=progress)


class Theirs:
    """MultipleNegativesRankingLoss, or the one that caches gradients, by SentenceTransformerTrainer."""

    def __init__(self, task: Path, case: Case) -> None:
        import datasets  # noqa: F401 (without it the trainer cannot be made)
        from sentence_transformers import SentenceTransformer

        from retrieval.encoders.models import locate

        self.data, self._case = _read(task), case
        self.model = SentenceTransformer(locate(case.model), device=case.device).float()
        self.model.max_seq_length = case.tokens

    def loss(self, batch: int) -> Any:
        """Of the first batch."""
        with tempfile.TemporaryDirectory(prefix="training-") as out:
            trainer = self._trainer(Path(out), batch, steps=1)
            inputs = next(iter(trainer.get_train_dataloader()))
            features, labels = trainer.collect_features(inputs)
            return trainer.loss(features, labels)

    def train(self, out: Path, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """A round; `begin` is called before the first batch is drawn, `end` after each step."""
        from transformers import TrainerCallback

        class Marks(TrainerCallback):
            def on_epoch_begin(self, *given: Any, **named: Any) -> None:
                begin()

            def on_step_end(self, *given: Any, **named: Any) -> None:
                end()

        self._trainer(out, self._case.batch, steps=self._case.steps, callbacks=[Marks()]).train()

    def _trainer(self, out: Path, batch: int, *, steps: int, callbacks: Any = None) -> Any:
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

        case = self._case
        settings = SentenceTransformerTrainingArguments(
            output_dir=str(out),
            per_device_train_batch_size=batch,
            max_steps=steps,
            learning_rate=case.lr,
            warmup_steps=0,
            weight_decay=_WEIGHT_DECAY,
            max_grad_norm=_CLIP,
            seed=case.seed,
            bf16=case.precision == "bf16",
            use_cpu=case.device == "cpu",
            dataloader_pin_memory=case.device != "cpu",
            batch_sampler=_as_they_stand,
            **dict.fromkeys(("save_strategy", "eval_strategy", "logging_strategy"), "no"),
            report_to=[],
            disable_tqdm=True,
        )
        return SentenceTransformerTrainer(
            model=self.model,
            args=settings,
            train_dataset=self._texts(batch, steps),
            loss=self._loss(),
            callbacks=callbacks,
        )

    def _loss(self) -> Any:
        from sentence_transformers.sentence_transformer import losses

        scale = 1 / _TEMPERATURE
        if self._case.cached:
            return losses.CachedMultipleNegativesRankingLoss(
                self.model, scale=scale, mini_batch_size=self._case.together
            )
        return losses.MultipleNegativesRankingLoss(self.model, scale=scale)

    def _texts(self, batch: int, steps: int) -> Any:
        """The rows of our batches, one batch after the other."""
        from datasets import Dataset

        from retrieval.training.batches import Draw, draw

        columns: dict[str, list[str]] = {"anchor": [], "positive": [], "negative": []}
        settings = Draw(queries=batch, negatives=1, seed=self._case.seed)
        for step in range(steps):
            found = draw(self.data, settings, step)
            documents = [self.data.texts[row] for row in found.rows]
            columns["anchor"] += [example.query for example in found.examples]
            columns["positive"] += documents[:batch]
            columns["negative"] += documents[batch:]
        return Dataset.from_dict(columns)


ENGINES: dict[str, Any] = {OURS: Ours, PEER: Theirs}


def _as_they_stand(dataset: Any, *, batch_size: int, drop_last: bool, **unused: Any) -> Any:
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from torch.utils.data import SequentialSampler

    return DefaultBatchSampler(SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)


def _read(task: Path) -> Any:
    from retrieval.training.data import Sources, read_training_data

    return read_training_data(Sources(data=[task]))


class Work:
    """One side on one case, in a process of its own."""

    def __init__(self, name: str, threads: int, *, task: Path, case: Case, cpu_time: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        self._clock = time.process_time if cpu_time else time.perf_counter
        self._on_gpu = case.device != "cpu"
        self._case, self._engine = case, ENGINES[name](task, case)

    def about(self) -> dict[str, Any]:
        """Versions of what works here, and the memory that the loaded model takes."""
        from importlib.metadata import version

        packages = ("torch", "transformers", "accelerate", "sentence-transformers")
        return {"versions": {package: version(package) for package in packages}, "loaded": self._peak()}

    def check(self) -> dict[str, float]:
        """The loss of the first pairs without dropout and in float32, and the norm of its gradient; warms up, too."""
        model = self._engine.model
        model.eval()
        loss = self._engine.loss(min(self._case.batch, _CHECKED, len(self._engine.data.examples)))
        loss.backward()
        squares = [p.grad.double().square().sum().item() for p in model.parameters() if p.grad is not None]
        model.zero_grad(set_to_none=True)
        return {"loss": loss.item(), "gradient": sum(squares) ** 0.5}

    def train(self) -> dict[str, Any]:
        """Seconds of a step, and the peak of memory after the last."""
        marks: list[float] = []
        peak = 0

        def mark() -> None:
            nonlocal peak
            marks.append(self._now())
            peak = self._peak()

        gc.collect()
        with tempfile.TemporaryDirectory(prefix="training-") as out:
            self._engine.train(Path(out), mark, mark)
        if len(marks) != self._case.steps + 1:
            raise RuntimeError(f"{len(marks) - 1} steps in place of {self._case.steps}")
        return {"seconds": (marks[-1] - marks[0]) / self._case.steps, "peak": peak}

    def _now(self) -> float:
        if self._on_gpu:
            import torch

            torch.cuda.synchronize()
        return self._clock()

    def _peak(self) -> int:
        if self._on_gpu:
            import torch

            return int(torch.cuda.max_memory_allocated())
        return peak_bytes()
