"""Indexes of the format before: they are read, and become of this format by a change."""

from pathlib import Path

import orjson

from retrieval.index.manifest import FORMAT, checksum_of
from retrieval.indexing import Index
from retrieval.types import Document


def test_an_index_of_format_4_is_read_and_changed(tmp_path: Path) -> None:
    """Its manifest lacks nothing but what a dense part may have since."""
    Index.build([Document("a", "solar wind"), Document("b", "bread")], tmp_path / "index")
    file = tmp_path / "index" / "manifest.json"
    content = orjson.loads(file.read_bytes())
    content.pop("checksum")
    content["format"] = 4
    file.write_bytes(orjson.dumps(content | {"checksum": checksum_of(content)}))
    changed = Index.open(tmp_path / "index").add([Document("c", "wind mill")])
    assert changed.manifest.format == FORMAT == 5
    assert len(changed) == 3
