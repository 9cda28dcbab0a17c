"""Floor 2, what people write: a TOML text and an environment become a RunSpec, or all problems at once."""
