"""A causal language model as a reader: prompt, mixture head, losses, training, what was trained."""
