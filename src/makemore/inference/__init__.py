"""Inference with trained models: exact NLL, scores, samples, diagnosis."""
