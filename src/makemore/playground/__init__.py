"""The playground: a page on this machine in which a trained model answers every letter that is typed."""
