"""What can be set: of the data, of the optimiser, and of each method. Nothing here needs torch."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from retrieval.errors import InputError

__all__ = [
    "AdoreSettings",
    "Ar2Settings",
    "CetSettings",
    "DataSettings",
    "DenseSettings",
    "PairSettings",
    "RankerSettings",
    "RocketQaSettings",
    "StarSettings",
    "TasBalancedSettings",
    "TrainerSettings",
    "check_epochs",
    "check_least",
    "check_negatives",
    "check_shares",
]

Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is learned from, and what chooses the model.

    Attributes:
        split: whose judgements train, of BEIR folders: qrels/SPLIT.tsv.
        dev: split whose judgements choose the model.
        hold_out: or, of folders without that split, a share of the training queries that does.
        dev_data: folders to take dev data from; by default all.
        dev_documents: search a sample of so many documents on dev data, to save time.
        negatives: file of hard negatives, from `retrieval mine`, or a TREC run; repeatable.
        negatives_depth: hits of each file that may be negatives.
        pseudo_positives: learn from mined files' unjudged documents, too, that a cross-encoder takes for relevant.
        found_positives: learn only from positives that one of the negatives' TREC runs has found, as a reranker does.
        teacher_run: TREC run whose scores teach; several are averaged.
    """

    split: str = "train"
    dev: str | None = None
    hold_out: float | None = None
    dev_data: list[Path] = field(default_factory=list)
    dev_documents: int | None = None
    negatives: list[Path] = field(default_factory=list)
    negatives_depth: int = 100
    pseudo_positives: bool = False
    found_positives: bool = False
    teacher_run: list[Path] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How to optimise, whatever the method.

    Attributes:
        steps: batches to learn from; with 0 the model is written as it begins.
        lr: the highest learning rate.
        warmup: share of the steps over which the rate rises from 0; then it falls to 0 in a straight line.
        weight_decay: of all weights but biases and norms.
        clip: the largest norm of a step's gradient; of two models that learn together, of each by itself.
        precision: of matrix products: bf16, fp16 (with scaled losses), or no for float32.
        dropout: share of states and of attention that is dropped in each step; None keeps what the model says. With 0 a
            CPU computes attention in one piece, and a step takes two thirds of the time.
        seed: of batches and of dropout.
        evaluate_every: steps between evaluations on dev data, the first before any step; 0 for none.
        patience: how many evaluations in a row may be no better before the run ends; 0 for no limit.
        checkpoint_every: steps between checkpoints, where they take no minute: then each minute; there is one after
            each evaluation as well; 0 for those alone. Decides no weight.
        log_every: steps between lines of the log. Decides no weight.
        device: torch's name of a device; None takes what accelerate finds. Decides no weight.
    """

    steps: int = 0
    lr: float = 2e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: Precision = "no"
    dropout: float | None = None
    seed: int = 0
    evaluate_every: int = 0
    patience: int = 0
    checkpoint_every: int = 500
    log_every: int = 10
    device: str | None = None

    def __post_init__(self) -> None:
        wrong = {
            "steps must be at least 0": self.steps < 0,
            "lr must be above 0": not self.lr > 0,
            "warmup must be a share from 0 to 1": not 0 <= self.warmup <= 1,
            "weight_decay must be at least 0": not self.weight_decay >= 0,
            "clip must be above 0": not self.clip > 0,
            "dropout must be a share from 0 to below 1": self.dropout is not None and not 0 <= self.dropout < 1,
            "precision must be no, bf16 or fp16": self.precision not in ("no", "bf16", "fp16"),
            "evaluate_every, patience and checkpoint_every must be at least 0": min(
                self.evaluate_every, self.patience, self.checkpoint_every
            )
            < 0,
            "log_every must be at least 1": self.log_every < 1,
        }
        if broken := [rule for rule, is_broken in wrong.items() if is_broken]:
            raise InputError(broken[0])

    def deciding(self) -> dict[str, Any]:
        """Those that decide the result."""
        free = ("checkpoint_every", "log_every", "device")
        return {name: value for name, value in asdict(self).items() if name not in free}


@dataclass(frozen=True, kw_only=True)
class DenseSettings:
    """What all methods for dense encoders have in common.

    Attributes:
        batch: queries of a step, over all processes.
        negatives_per_query: hard ones for each query.
        temperature: what scores are divided by in a loss; None takes .05 for cosines and 1 for inner products.
        query_length: tokens of a query that are read in training.
        document_length: tokens of a document that are read in training.
        at_once: texts that go through the model together, sorted by length; 0 takes all of a step.
        cached: keep no more than vectors for the backward pass, which computes `at_once` texts at a time again: for
            batches that are larger than memory.
        mined: hits of each training query, by the model as it is at the start, that are its negatives; 0 takes the
            data's.
        refresh: steps after which they are searched for anew with the model as it then is; 0 for never.
        lora: dimensions of low-rank adapters, which alone are trained; None trains all weights.
        seed: of the batches.
    """

    batch: int = 32
    negatives_per_query: int = 1
    temperature: float | None = None
    query_length: int = 64
    document_length: int = 256
    at_once: int = 32
    cached: bool = False
    mined: int = 0
    refresh: int = 0
    lora: int | None = None
    seed: int = 0

    @property
    def adapters(self) -> dict[str, Any]:
        """What low-rank adapters have beside their dimensions."""
        return {}

    def __post_init__(self) -> None:
        check_least(self, 1, "batch", "query_length", "document_length")
        check_least(self, 0, "negatives_per_query", "at_once", "mined", "refresh")
        if self.batch == 1 and not self.negatives_per_query:
            raise InputError("one query without negatives has nothing to learn from", hint="a larger batch")
        if self.refresh and not self.mined:
            raise InputError("refresh needs a number of hits to search for", hint="say how many: mined")
        if self.temperature is not None and not self.temperature > 0:
            raise InputError(f"temperature must be above 0; got {self.temperature!r}")
        if self.lora is not None and self.lora < 1:
            raise InputError(f"lora must be at least 1; got {self.lora!r}")


@dataclass(frozen=True, kw_only=True)
class StarSettings(DenseSettings):
    """The common settings, with negatives that the model finds at the start.

    Attributes:
        mined: hits of each training query, by the model as it is at the start, that are its negatives; 0 takes the
            data's.
    """

    mined: int = 200


@dataclass(frozen=True, kw_only=True)
class AdoreSettings(DenseSettings):
    """ADORE's own settings, beside those of all; what concerns documents or negatives of the data plays no part.

    Attributes:
        depth: documents that each search finds.
        metric_cut: the rank from which on a place is worth nothing, see `lambda_rank`.
    """

    depth: int = 200
    metric_cut: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "depth", "metric_cut")


@dataclass(frozen=True, kw_only=True)
class PairSettings(DenseSettings):
    """PAIR's own settings, beside those of all.

    Attributes:
        alpha: weight of the passages' part of the loss.
        first_stage: steps that have it; 0 for all.
    """

    alpha: float = 0.1
    first_stage: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(self, "alpha")
        check_least(self, 0, "first_stage")


@dataclass(frozen=True, kw_only=True)
class RankerSettings(DenseSettings):
    """What methods have in common that train a cross-encoder beside the dual encoder, on lists of each query.

    Attributes:
        negatives_per_query: of a list, beside the positive.
        mined: hits of each training query, by the model as it is at the start, that are its negatives; 0 takes the
            data's.
        ranker: the cross-encoder, or an encoder that gets a new head.
        ranker_warmup: steps that train it alone at the start.
        ranker_lr: its highest learning rate.
        pair_length: tokens of query and document together that it reads in training.
    """

    negatives_per_query: int = 7
    mined: int = 100
    ranker: str = "minilm"
    ranker_warmup: int = 0
    ranker_lr: float = 5e-5
    pair_length: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "negatives_per_query", "pair_length")
        check_least(self, 0, "ranker_warmup")
        if not self.ranker_lr > 0:
            raise InputError(f"ranker_lr must be above 0; got {self.ranker_lr!r}")


@dataclass(frozen=True, kw_only=True)
class Ar2Settings(RankerSettings):
    """AR2's own settings.

    Attributes:
        cycle: steps of the ranker's and the retriever's turn together; before each cycle negatives are found anew.
        ranker_share: of a cycle, which comes first.
        cooling: what the ranker's learning rate is multiplied with after its warm-up.
        adversarial_weight: lambda, see `ar2_retriever`.
        ranker_temperature: what the ranker's scores are divided by where they teach.
        reduction: of the adversarial part over queries; sum is that of the published code.
    """

    cycle: int = 100
    ranker_share: float = 0.25
    cooling: float = 0.1
    adversarial_weight: float = 0.5
    ranker_temperature: float = 1.0
    reduction: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "cycle")
        check_shares(self, "ranker_share", "adversarial_weight", "cooling")
        if not self.ranker_temperature > 0:
            raise InputError(f"ranker_temperature must be above 0; got {self.ranker_temperature!r}")
        if self.refresh:
            raise InputError("AR2 finds negatives anew in each cycle", hint="leave refresh out, and set cycle")


@dataclass(frozen=True, kw_only=True)
class RocketQaSettings(RankerSettings):
    """RocketQAv2's own settings.

    Attributes:
        kl_weight: of the divergence, a sum over the list; 1 over the list's length is the published code's.
        kl_direction: from the ranker to the retriever, as published code has it, or the other way round.
        teacher_grad: whether the divergence trains the ranker as well.
    """

    kl_weight: float = 1.0
    kl_direction: Literal["teacher-student", "student-teacher"] = "teacher-student"
    teacher_grad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 0, "kl_weight")


@dataclass(frozen=True, kw_only=True)
class CetSettings(RankerSettings):
    """Settings of the reconstruction of CET.

    Attributes:
        relevance: what the relevance model is: the dual encoder, or a cross-encoder, the ranker.
        floor: the least weight of a negative.
        clip_least, clip_most: of inverse propensities.
        uncorrected: steps at the start in which all weights are 1.
        selection_lr: the highest learning rate of the selection model.
    """

    relevance: Literal["dual", "cross"] = "dual"
    floor: float = 0.1
    clip_least: float = 0.1
    clip_most: float = 10.0
    uncorrected: int = 0
    selection_lr: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(self, "floor")
        check_least(self, 0, "uncorrected")
        if not 0 < self.clip_least <= 1 <= self.clip_most:
            raise InputError("clip_least and clip_most must be above 0, with 1 between them")
        if not self.selection_lr > 0:
            raise InputError(f"selection_lr must be above 0; got {self.selection_lr!r}")
        if self.ranker_warmup:
            raise InputError("CET has no warm-up of the ranker", hint="uncorrected steps are its warm-up")


@dataclass(frozen=True, kw_only=True)
class TasBalancedSettings(DenseSettings):
    """TAS-Balanced's own settings.

    Attributes:
        mined: hits of each training query, by the model as it is at the start, that are its negatives; 0 takes the
            data's.
        ranker: cross-encoder that scores each query's positives and negatives before the first step; without it the
            data's teacher does.
        ranked: negatives of each query that it scores.
        pair_length: tokens of query and document together that it reads.
        batch_teacher: dual encoder that says how a query goes with the others' documents; without it that part of the
            loss is left out. (ColBERT in the paper.)
        batch_weight: of that part.
        clusters: of the training queries; a batch is drawn from one.
        bins: of the teacher's margins; a pair is drawn from one of those that are not empty.
    """

    mined: int = 200
    ranker: str | None = None
    ranked: int = 10
    pair_length: int = 256
    batch_teacher: str | None = None
    batch_weight: float = 0.75
    clusters: int = 20
    bins: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "clusters", "bins", "ranked", "pair_length")
        check_least(self, 0, "batch_weight")
        if self.refresh:
            raise InputError("TAS-Balanced has its negatives scored once, before the first step", hint="no refresh")


def check_negatives(settings: DenseSettings, given: DataSettings) -> None:
    """An error where files of negatives are given, and the method finds its own in their place."""
    if given.negatives and settings.mined and not given.pseudo_positives:
        raise InputError(
            f"the model finds {settings.mined} negatives of each query itself: {given.negatives[0]} would not count",
            hint="--mined 0 takes those of the file",
        )


def check_epochs(epochs: float) -> None:
    """An error where nothing can be seen so many times."""
    if not 0 <= epochs < math.inf:
        raise InputError(f"epochs must be a number of at least 0; got {epochs!r}")


def check_least(settings: Any, least: int, *names: str) -> None:
    """An error if one of them is less."""
    for name in names:
        if not getattr(settings, name) >= least:
            raise InputError(f"{name} must be at least {least}; got {getattr(settings, name)!r}")


def check_shares(settings: Any, *names: str) -> None:
    """An error if one of them is no share."""
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise InputError(f"{name} must be a share from 0 to 1; got {getattr(settings, name)!r}")
