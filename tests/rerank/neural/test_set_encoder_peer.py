"""Scores are those of lightning-ir on the same weights."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from retrieval.encoders.models import quiet  # noqa: E402
from retrieval.rerank.neural.set_encoder import SetEncoder  # noqa: E402
from tests.rerank.set_making import SETS, write_set_encoder  # noqa: E402

# lightning-ir 0.0.6 with transformers 4.57.6, on what `write_set_encoder` makes, each set of SETS alone.
THEIRS = {
    ("bert", True): [1.15138, 1.18497, 1.16199, 1.2679, 1.18497, 1.1086, 0.99377, 1.19308],
    ("electra", True): [0.4551, 0.3362, 0.40744, 0.45648, 0.3362, 0.41612, 0.39546, 0.31705],
    ("bert", False): [0.91727, 0.9672, 1.02955, 0.6089, 0.9672, 0.42688, 0.77298, 0.84255],
}


def scores(model: SetEncoder) -> torch.Tensor:
    """Of all sets, together."""
    members = [(number, query, passage) for number, (query, passages) in enumerate(SETS) for passage in passages]
    with torch.no_grad():
        return model.eval()(model.tokenize_members(members))


def theirs(folder: Path) -> torch.Tensor:
    """What lightning-ir says; it knows transformers 4 only, and pads no sets, so that each goes alone."""
    lightning_ir = pytest.importorskip("lightning_ir")
    if int(transformers.__version__.split(".")[0]) > 4:
        pytest.skip("lightning-ir 0.0.6 runs no set-encoder with transformers 5")
    with quiet():
        module = lightning_ir.CrossEncoderModule(str(folder)).eval()
    found = []
    with torch.no_grad():
        for query, passages in SETS:
            encoding = module.tokenizer.tokenize(
                [query], passages, num_docs=[len(passages)], return_tensors="pt", padding=True
            )
            found.append(module.model(encoding["encoding"]).scores)
    return torch.cat(found)


@pytest.mark.parametrize(("kind", "marked"), THEIRS)
def test_scores_are_those_that_lightning_ir_gave(tmp_path: Path, kind: str, marked: bool) -> None:
    """Of BERT and ELECTRA, and of a model without a token of its own."""
    model = SetEncoder.load(str(write_set_encoder(tmp_path / kind, kind, marked=marked)))
    torch.testing.assert_close(scores(model), torch.tensor(THEIRS[kind, marked]), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "marked"), THEIRS)
def test_scores_are_those_of_lightning_ir(tmp_path: Path, kind: str, marked: bool) -> None:
    """Of its folder, and it gives the same of the one that is saved here."""
    folder = write_set_encoder(tmp_path / kind, kind, marked=marked)
    model = SetEncoder.load(str(folder))
    torch.testing.assert_close(scores(model), theirs(folder), atol=1e-5, rtol=1e-5)
    model.save(tmp_path / "saved")
    torch.testing.assert_close(scores(model), theirs(tmp_path / "saved"), atol=1e-5, rtol=1e-5)
