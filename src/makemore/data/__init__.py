"""From a text file to batches: text -> vocabulary -> corpus (one token stream, splits) -> windows -> batches."""
