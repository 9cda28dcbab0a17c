"""Floor 3, hands: an effect in, signals out, no opinions."""
