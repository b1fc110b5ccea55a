"""A run that was killed ends as one that was not; one that cannot go on says so and keeps what it had."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from torch import nn  # noqa: E402

from retrieval.errors import InputError, TrainingError  # noqa: E402
from retrieval.training.checkpoints import Best, Checkpoints, Progressed  # noqa: E402
from retrieval.training.log import read_log  # noqa: E402
from retrieval.training.recipes import Recipe, StepLoss  # noqa: E402
from retrieval.training.settings import TrainerSettings  # noqa: E402
from retrieval.training.trainer import learning_rate, train  # noqa: E402
from tests.training.training import OPTIMISING, recipe, short_run  # noqa: E402

ROOT = Path(__file__).parents[2]


class Line(Recipe):
    """A number that is to be 3; the loss at some step may be made up."""

    def __init__(self, *, at: int | None = None, loss: float = float("nan"), name: str = "line") -> None:
        self.model = nn.Linear(1, 1, bias=False)
        self.model.weight.data.zero_()
        self._at, self._loss, self._name = at, loss, name
        self.begun = 0

    # ruff: noqa: D102 - what each does stands in `Recipe`
    def settings(self) -> dict[str, object]:
        return {"name": self._name}

    def begin(self) -> None:
        self.begun += 1

    def batch(self, step: int, rank: int, world: int) -> int:
        return step

    def loss(self, batch: int, step: int) -> StepLoss:
        total = (self.model(torch.ones(1, 1)) - 3).square().sum()
        if step == self._at:
            total = total * self._loss
        return StepLoss(total, {"square": total.item()}, {})

    def save(self, folder: Path) -> None:
        torch.save(self.model.state_dict(), folder / "line.pt")

    @property
    def value(self) -> float:
        return self.model.weight.item()


def settings(**changes: object) -> TrainerSettings:
    base = TrainerSettings(steps=10, lr=0.1, warmup=0, weight_decay=0, checkpoint_every=2, log_every=1, device="cpu")
    return replace(base, **changes)


def saved(out: Path) -> float:
    return float(torch.load(out / "model" / "line.pt", weights_only=True)["weight"].item())


def test_a_killed_run_ends_as_an_undisturbed_one(collection: Path, run: Path, masked: Path, tmp_path: Path) -> None:
    """The same weights to the bit, and the same log but for rates, with dropout on."""
    whole = short_run(collection, run, masked, tmp_path / "whole")
    command = [sys.executable, "-m", "tests.training.training"]
    paths = [collection, run, masked, tmp_path / "killed"]
    done = subprocess.run([*command, *map(str, paths), "5"], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model").exists()
    resumed = short_run(collection, run, masked, tmp_path / "killed")
    assert resumed.steps == whole.steps == 8
    name = "model.safetensors"
    assert (resumed.model / name).read_bytes() == (whole.model / name).read_bytes()
    logs = [
        [{**line, "steps_per_second": 0} for line in read_log(out / "log.jsonl")]
        for out in (tmp_path / "whole", tmp_path / "killed")
    ]
    assert logs[0] == logs[1]
    assert [line["step"] for line in logs[0]] == list(range(1, 9))


def test_a_run_goes_on_only_with_the_settings_it_began_with(
    collection: Path, run: Path, masked: Path, tmp_path: Path
) -> None:
    """Of method and optimiser; what differs is named, and --restart begins anew."""
    short_run(collection, run, masked, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "model")
    with pytest.raises(TrainingError, match=r"other settings: lr was 0.001 and is 0.01") as caught:
        short_run(collection, run, masked, tmp_path / "out", lr=1e-2)
    assert "--restart" in str(caught.value.hint)
    with pytest.raises(TrainingError, match="batch was 6 and is 5"):
        train(recipe(collection, run, masked, batch=5), OPTIMISING, tmp_path / "out")
    # How often the log is written decides nothing.
    assert short_run(collection, run, masked, tmp_path / "out", log_every=4).steps == 8


def test_a_finished_run_is_not_overwritten(tmp_path: Path) -> None:
    """Unless that is asked for."""
    train(Line(), settings(), tmp_path)
    with pytest.raises(InputError, match="a finished model stands there"):
        train(Line(), settings(), tmp_path)
    assert train(Line(), settings(steps=3), tmp_path, restart=True).steps == 3


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """The weights of before stay, and a run with the cause removed goes on from them."""
    with pytest.raises(TrainingError, match=r"step 6: the loss is nan \(square nan\); its last checkpoint stays"):
        train(Line(at=5), settings(), tmp_path)
    assert not (tmp_path / "model").exists()
    mended = Line()
    assert train(mended, settings(), tmp_path).steps == 10
    assert mended.begun == 0
    undisturbed = Line()
    train(undisturbed, settings(), tmp_path / "undisturbed")
    assert mended.value == undisturbed.value
    with pytest.raises(TrainingError, match="there was no checkpoint yet"):
        train(Line(at=0), settings(), tmp_path / "first")


def test_a_checkpoint_is_due_by_the_clock_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few steps there were, since they may be slow; 0 asks for none."""
    monkeypatch.setattr("retrieval.training.trainer._KEPT_SECONDS", 0.0)
    with pytest.raises(TrainingError, match="its last checkpoint stays"):
        train(Line(at=5), settings(checkpoint_every=500), tmp_path / "kept")
    mended = Line()
    train(mended, settings(checkpoint_every=500), tmp_path / "kept")
    undisturbed = Line()
    train(undisturbed, settings(), tmp_path / "undisturbed")
    assert mended.value == undisturbed.value
    with pytest.raises(TrainingError, match="there was no checkpoint yet"):
        train(Line(at=5), settings(checkpoint_every=0), tmp_path / "none")


def test_the_best_model_on_dev_data_is_the_one_that_is_kept(tmp_path: Path) -> None:
    """Of all evaluations, the first before any step; patience ends the run."""
    scores = iter([0.1, 0.5, 0.4, 0.45, 0.3, 0.9])
    values: list[float] = []
    line = Line()

    def evaluate() -> float:
        values.append(line.value)
        return next(scores)

    outcome = train(line, settings(evaluate_every=2, patience=2), tmp_path, evaluate=evaluate)
    assert outcome.best == Best(2, 0.5, 2)
    assert outcome.steps == 6
    assert saved(tmp_path) == values[1] != line.value
    told = [line["dev"] for line in read_log(tmp_path / "log.jsonl") if "dev" in line]
    assert told == [0.1, 0.5, 0.4, 0.45]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best-00000002", "step-00000006"]


def test_a_run_that_goes_on_still_knows_its_best(tmp_path: Path) -> None:
    """Found before it was stopped; what it found after its last checkpoint is found again."""
    scores = {0: 0.1, 2: 0.9, 4: 0.2, 6: 0.3, 8: 0.2, 10: 0.1}

    def trained(at: int | None, out: Path) -> None:
        line = Line(at=at)
        places = iter(sorted(scores)) if at is not None else iter([6, 8, 10])
        train(line, settings(evaluate_every=2), out, evaluate=lambda: scores[next(places)])

    with pytest.raises(TrainingError):
        trained(5, tmp_path)
    trained(None, tmp_path)
    assert [line["dev"] for line in read_log(tmp_path / "log.jsonl") if "dev" in line] == list(scores.values())
    assert Checkpoints(tmp_path / "checkpoints", {}).exist
    assert (tmp_path / "checkpoints" / "best-00000002").is_dir()


def test_a_checkpoint_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    """What was written beside is passed over, and swept by the next."""
    checkpoints = Checkpoints(tmp_path, {"a": [1, 2]})
    checkpoints.save(Progressed(3, None, {"x": torch.ones(2)}))
    (tmp_path / "step-00000009.new").mkdir()
    found = Checkpoints(tmp_path, {"a": (1, 2)}).load()
    assert found
    assert (found.step, found.state["x"].tolist()) == (3, [1.0, 1.0])
    checkpoints.save(Progressed(4, None, {"x": torch.ones(2)}))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]


def test_a_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    """With its place, not a traceback; and no code in it is ever run."""
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.save(Progressed(3, None, {}))
    (tmp_path / "step-00000003" / "state.pt").write_bytes(b"cut")
    with pytest.raises(TrainingError, match=r"step-00000003: the checkpoint cannot be read"):
        checkpoints.load()
    torch.save({"model": print}, tmp_path / "step-00000003" / "state.pt")
    with pytest.raises(TrainingError, match=r"step-00000003: the checkpoint cannot be read"):
        checkpoints.load()


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    """To its highest at the end of the warm-up, to nothing after the last step."""
    rates = [learning_rate(settings(steps=10, warmup=0.2, lr=8.0), step) for step in range(11)]
    assert rates == [4.0, 8.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]


class Dropping(Line):
    """The same, seen through dropout; it keeps what came through."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(self.model, nn.Dropout(0.5))
        self.seen: list[float] = []

    def loss(self, batch: int, step: int) -> StepLoss:
        total = (self.model(torch.ones(64, 1)) - 3).square().mean()
        self.seen.append(total.item())
        return StepLoss(total, {}, {})


@pytest.mark.parametrize(("dropout", "is_lucky"), [(None, True), (0.0, False)])
def test_dropout_is_the_models_own_or_what_was_said(tmp_path: Path, dropout: float | None, is_lucky: bool) -> None:
    """With 0, other random numbers make no other loss."""
    seen = []
    for seed in (0, 1):
        dropping = Dropping()
        optimising = TrainerSettings(steps=5, lr=0.1, seed=seed, dropout=dropout, device="cpu")
        train(dropping, optimising, tmp_path / str(seed))
        seen.append(dropping.seen)
    assert (seen[0] != seen[1]) == is_lucky


@pytest.mark.parametrize(
    "change", [{"steps": -1}, {"lr": 0.0}, {"warmup": 2.0}, {"clip": 0.0}, {"precision": "fp8"}, {"dropout": 1.0}]
)
def test_settings_out_of_range_are_refused(change: dict[str, object]) -> None:
    """When they are made, not at some step."""
    with pytest.raises(InputError, match=next(iter(change))):
        settings(**change)


def test_bf16_trains_too(collection: Path, run: Path, masked: Path, tmp_path: Path) -> None:
    """With matrix products in half precision, and losses in float32."""
    assert short_run(collection, run, masked, tmp_path / "out", precision="bf16", steps=3).steps == 3


class Cliff(Line):
    """A number that is to be 3; at the sixth step the loss has no gradient."""

    def loss(self, batch: int, step: int) -> StepLoss:
        found = super().loss(batch, step)
        return StepLoss(found.total + (self.model(torch.zeros(1, 1)).sqrt().sum() if step == 5 else 0), {}, {})


def test_a_gradient_that_is_no_number_never_becomes_a_weight(tmp_path: Path) -> None:
    """Where the loss is one: no checkpoint holds what it would make of the weights, and a mended run goes on."""
    with pytest.raises(TrainingError, match=r"step 6: the norm of the gradient is nan; its last checkpoint stays"):
        train(Cliff(), settings(checkpoint_every=1), tmp_path)
    mended, undisturbed = Line(), Line()
    assert train(mended, settings(), tmp_path).steps == 10
    train(undisturbed, settings(), tmp_path / "undisturbed")
    assert mended.value == undisturbed.value


class Pair(Line):
    """Two numbers, parts of their own, of which the second has a gradient a thousand times as large."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in ("small", "large")})
        for part in self.model.values():
            part.weight.data.zero_()
        self.norms: dict[str, float] = {}

    def part(self, name: str) -> str:
        return name.partition(".")[0]

    def loss(self, batch: int, step: int) -> StepLoss:
        self.norms = {
            name: part.weight.grad.norm().item() for name, part in self.model.items() if part.weight.grad is not None
        }
        one = torch.ones(1, 1)
        total = (self.model["small"](one) + 1000 * self.model["large"](one)).sum()
        return StepLoss(total, {}, {})


def test_each_part_is_clipped_by_itself(tmp_path: Path) -> None:
    """The larger gradient of one model leaves that of the other as it is."""
    pair = Pair()
    train(pair, settings(steps=2, clip=2.0, checkpoint_every=0), tmp_path)
    assert pair.norms == {"small": pytest.approx(1.0), "large": pytest.approx(2.0, rel=1e-5)}
