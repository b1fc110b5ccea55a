"""What both sides of the training benchmark learn from, and that it is the same to them."""

import math
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import orjson

_EQUAL = 1e-4


def write_task(path: Path, collection: Path, *, negatives: Path | None, seed: int) -> int:
    """Write pairs with a negative each, as training data, and say how many; no document stands in two of them.

    The negative is the first of the query's that is left, and without one a document at random, which is relevant for
    no query.
    """
    from retrieval.training.data import Sources, read_training_data

    data = read_training_data(Sources(data=[collection], negatives=[negatives] if negatives else []))
    taken = {row for example in data.examples for row in example.positives}
    drawn = iter(np.random.default_rng(seed).permutation(len(data.texts)).tolist())
    records, used = [], set[int]()
    for example in data.examples:
        positive = next((row for row in example.positives if row not in used), None)
        negative = next((row for row in chain(example.negatives, drawn) if row not in taken), None)
        if positive is None or negative is None:
            continue
        used.add(positive)
        taken.add(negative)
        texts = {"query": example.query, "pos": [data.texts[positive]], "neg": [data.texts[negative]]}
        records.append(orjson.dumps(texts))
    path.write_bytes(b"\n".join(records))
    return len(records)


def agree(first: Mapping[str, Mapping[str, float]]) -> None:
    """Check that the sides begin with the same loss and gradient.

    Raises:
        SystemExit: they do not.
    """
    (name, expected), *others = first.items()
    for other, found in others:
        for what, value in expected.items():
            if not math.isclose(value, found[what], rel_tol=_EQUAL):
                raise SystemExit(
                    f"not the same task: the {what} is {value:.6f} of {name}, {found[what]:.6f} of {other}"
                )
