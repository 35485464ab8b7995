"""The data pipeline: text file -> vocabulary -> corpus (token stream and splits) -> windows -> batches."""
