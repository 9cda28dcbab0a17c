"""Floor 3, memory: the log of facts and the run directory."""
