"""Numbers of things, in words."""

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """So many of a thing: 1 query, 2 queries, 3 systems."""
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else noun + "s"
    return f"{number} {noun if number == 1 else plural}"
