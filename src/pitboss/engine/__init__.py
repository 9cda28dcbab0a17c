"""Floor 4, the heart: the one loop that owns the state, and what starts the hands."""
