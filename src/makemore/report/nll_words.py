"""How an NLL compares with another one, in the words of a headline."""

import math


def difference(nll: float, other: float) -> str:
    """Return by how much an NLL is below or above another one, in words."""
    if math.isinf(nll) or math.isinf(other):
        return f"infinitely {'above' if math.isinf(nll) else 'below'}"
    if f"{nll:.4f}" == f"{other:.4f}":
        return "as much as"
    return f"{abs(nll - other):.4f} {'below' if nll < other else 'above'}"


def counting_number(nll: float, counting: float) -> tuple[str, str]:
    """Return how far an NLL is from that of counting alone, for a headline."""
    side = "above" if nll > counting else "below"
    return f"{abs(nll - counting):.4f}", f"{side} counting alone (Kneser-Ney: {counting:.4f})"
