import shutil
from pathlib import Path

from retrieval.evaluating.inputs import changes, stamp_of


def test_a_file_is_its_size_and_content(tmp_path: Path) -> None:
    """Wherever it is; where there is none, there is no stamp."""
    (tmp_path / "a").write_text("text")
    first = stamp_of(tmp_path / "a")
    assert first
    assert first["bytes"] == 4
    assert stamp_of((tmp_path / "a").rename(tmp_path / "b")) == first
    assert stamp_of(tmp_path / "a") is None
    (tmp_path / "b").write_text("tixt")
    assert stamp_of(tmp_path / "b") != first


def test_a_folder_is_its_files_and_their_places(tmp_path: Path) -> None:
    """But not where it is, nor what an encoder in int8 keeps beside a model."""
    model = tmp_path / "model"
    (model / "pooling").mkdir(parents=True)
    (model / "weights").write_text("1234")
    (model / "pooling" / "config").write_text("{}")
    first = stamp_of(model)
    assert first
    assert first["bytes"] == 6
    assert stamp_of(Path(shutil.copytree(model, tmp_path / "copy"))) == first
    (model / "retrieval-int8").mkdir()
    (model / "retrieval-int8" / "made").write_text("of it")
    assert stamp_of(model) == first
    (model / "weights").rename(model / "other")
    assert stamp_of(model) != first
    assert stamp_of(tmp_path / "model" / "none") is None


def test_what_has_changed_is_named_with_how() -> None:
    """What was not known then, or is not there now, is no exception."""
    one, other, longer = ({"bytes": size, "sha256": digest} for size, digest in ((1, "x"), (1, "y"), (2000, "z")))
    then = {"same": one, "content": one, "size": one, "gone": one}
    now = {"same": one, "content": other, "size": longer, "gone": None, "new": one}
    assert changes(then, now) == [
        "content (other content)",
        "size (1 bytes then, 2,000 now)",
        "gone (not there now)",
        "new (not known then)",
    ]
