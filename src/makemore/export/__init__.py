"""Exports of a trained model: safetensors, ONNX, a model card, and the table of a bigram."""
