"""What the documents of both corpora have in common."""

import re

Document = dict[str, str]

_WIDEST = 120


def informative(name: str, text: str) -> bool:
    """Say whether a docstring holds more than the signature that named tuples, data classes and `ast` put there."""
    last = re.escape(name.rpartition(".")[2])
    return len(re.sub(rf"^{last}\(.*?\)( -> \S+)?", "", text, count=1).split()) >= 3


def shortened(parameters: str) -> str:
    """Cut a parenthesised list of parameters after one of them when it is too long for a title."""
    if len(parameters) <= _WIDEST:
        return parameters
    kept = parameters[:_WIDEST].rpartition(", ")[0]
    return f"{kept}, ...)" if kept else "(...)"
