"""Networks and their registry: contexts in, logits out."""
