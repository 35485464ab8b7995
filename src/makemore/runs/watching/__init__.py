"""What TensorBoard shows while a run trains, beside its NLLs (conf/watch)."""
