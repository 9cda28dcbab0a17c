"""The demonstration: a small repository, a manifest with six tasks, and what the model says to each of them."""
