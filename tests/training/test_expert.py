"""An expert's recipe: vectors of an index in the place of documents."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

import retrieval  # noqa: E402
from retrieval.encoders.neural.dual import DualEncoder  # noqa: E402
from retrieval.errors import InputError  # noqa: E402
from retrieval.learning.dense import read_data  # noqa: E402
from retrieval.learning.indexed import IndexedDocuments  # noqa: E402
from retrieval.training.expert_settings import ExpertSettings  # noqa: E402
from retrieval.training.losses.contrastive import contrastive  # noqa: E402
from retrieval.training.recipes.expert import ExpertRecipe  # noqa: E402
from retrieval.training.settings import DataSettings  # noqa: E402


def test_the_loss_is_that_of_the_documents_that_the_index_has(collection: Path, dense: Path, tmp_path: Path) -> None:
    """InfoNCE over their vectors; what the index lacks is neither a positive nor a negative."""
    lines = (collection / "corpus.jsonl").read_text().splitlines()
    (tmp_path / "half.jsonl").write_text("\n".join(lines[:30]) + "\n")
    index = retrieval.Index.build(tmp_path / "half.jsonl", tmp_path / "index", dense=str(dense), device="cpu")
    data, _ = read_data([collection], DataSettings(), 0)
    documents = IndexedDocuments(index, data.ids)
    encoder = DualEncoder.load(str(dense), device="cpu")
    recipe = ExpertRecipe(encoder, data, ExpertSettings(batch=6, negatives_per_query=3), index=documents)
    encoder.eval()
    step = recipe.batch(0, 0, 1)
    rows = np.array(step.batch.rows)
    there = documents.has(rows)
    assert there[:6].all()
    assert not there.all()
    queries = recipe.encode([([example.query for example in step.batch.examples], "query")], step)[0]
    scores = queries @ torch.from_numpy(documents.vectors(rows[there])).T
    expected = contrastive(scores, torch.arange(6), step.batch.known[:, torch.from_numpy(there)], temperature=0.05)
    assert recipe.loss(step, 0).total.item() == pytest.approx(expected.item(), rel=1e-5)
    trained = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name and "sub_modules.query" in name for name in trained)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lora": None}, "made of low-rank adapters"),
        ({"lora": 0}, "lora must be at least 1"),
        ({"lora_alpha": 0}, "lora_alpha must be at least 1"),
        ({"lora_dropout": 2}, "lora_dropout must be a share"),
        ({"mined": 5}, "hard negatives come from files"),
    ],
)
def test_settings_that_no_expert_can_have(settings: dict[str, float | None], said: str) -> None:
    """Are refused."""
    with pytest.raises(InputError, match=said):
        ExpertSettings(**settings)  # type: ignore[arg-type]
