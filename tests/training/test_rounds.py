"""Jobs of several rounds: each goes on from the one before, and the job from where it was."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from retrieval.encoders.neural.dual import DualEncoder  # noqa: E402
from retrieval.errors import InputError, TrainingError  # noqa: E402
from retrieval.learning.rounds import read_job, run_job  # noqa: E402
from retrieval.training.log import read_log  # noqa: E402
from retrieval.training.plotting import plot_log  # noqa: E402
from tests.training.test_dense import score  # noqa: E402

JOB = """
model = "{model}"
data = ["{data}"]
device = "cpu"
query_length = 16
document_length = 16
hold_out = 0.2
lr = 5e-3
batch = 8

[[round]]
method = "dense"
negatives_per_query = 0
steps = 20

[[round]]
method = "star"
epochs = 5
mined = 20

[[round]]
method = "adore"
depth = 20
metric_cut = 20
steps = 20
"""


@pytest.fixture
def job(tmp_path: Path, collection: Path, dense: Path) -> Path:
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(model=dense, data=collection))
    return path


def test_each_round_trains_the_model_of_the_one_before(
    job: Path, collection: Path, dense: Path, tmp_path: Path
) -> None:
    """All of it is in one folder; the last model is far better than the first."""
    outcomes = run_job(read_job(job), tmp_path / "out")
    assert [path.parent.name for path in (one.model for one in outcomes)] == ["1-dense", "2-star", "3-adore"]
    assert (tmp_path / "out" / "2-star" / "negatives-00000000.jsonl").is_file()
    assert all(one.best is not None for one in outcomes)
    assert score(outcomes[-1].model, collection) > score(dense, collection) + 0.3
    star, adore = (DualEncoder.load(str(one.model)) for one in outcomes[1:])
    assert star.digest() == adore.digest()


def test_a_job_goes_on_where_it_was(job: Path, tmp_path: Path) -> None:
    """Finished rounds stay as they are, and come to the same."""
    first = run_job(read_job(job), tmp_path / "out")
    written = (tmp_path / "out" / "1-dense" / "log.jsonl").stat().st_mtime_ns
    assert run_job(read_job(job), tmp_path / "out") == first
    assert (tmp_path / "out" / "1-dense" / "log.jsonl").stat().st_mtime_ns == written


def test_a_folder_belongs_to_one_job(job: Path, tmp_path: Path) -> None:
    """Another one is refused, and what differs is told."""
    (tmp_path / "out").mkdir()
    run_job(read_job(job, seed=0), tmp_path / "out")
    with pytest.raises(TrainingError, match="round 1 differs"):
        run_job(read_job(job, seed=1), tmp_path / "out")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('method = "star"', 'method = "start"', "round 2: no method 'start'"),
        ("mined = 20", "minned = 20", "no setting 'minned'"),
        ("mined = 20", 'mined = "many"', "mined = 'many'"),
        ("mined = 20", "mined = -1", "mined must be at least 0"),
        ("batch = 8", "bath = 8", "no setting 'bath'"),
        ("[[round]]", "[[rounds]]", "no rounds|no setting"),
        ("lr = 5e-3", "lr = ", "cannot be read as a job"),
        ('method = "adore"', 'method = "adore"\nmodel = "@3"', "no model of an earlier round"),
        ("epochs = 5", "epochs = nan", "round 2: epochs must be a number of at least 0"),
        ("steps = 20", "steps = -1", "round 1: steps must be at least 0"),
        ("data = [", "data = [3, ", "names no list of data"),
    ],
)
def test_a_job_that_cannot_be_run_is_an_error(job: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    """It says where, before anything is trained if it can be known then."""
    job.write_text(
        job.read_text().replace(old, new).replace("steps = 20", "steps = 1").replace("epochs = 5", "steps = 1")
    )
    with pytest.raises(InputError, match=said):
        run_job(read_job(job), tmp_path / "out")


def test_curves_are_drawn(job: Path, tmp_path: Path) -> None:
    """A picture of the loss and of dev scores; of a log without a step there is none."""
    pytest.importorskip("matplotlib")
    outcomes = run_job(read_job(job), tmp_path / "out")
    log = outcomes[0].model.parent / "log.jsonl"
    assert any("dev" in line for line in read_log(log))
    plot_log(log, tmp_path / "curves.png", title="dense")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="no step"):
        plot_log(tmp_path / "empty.jsonl", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
