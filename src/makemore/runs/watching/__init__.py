"""Watchers: what TensorBoard shows of a run in training, beside its NLLs (conf/watch)."""
