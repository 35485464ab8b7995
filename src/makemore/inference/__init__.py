"""What a trained model says: exact NLL, scores, samples, diagnosis."""
