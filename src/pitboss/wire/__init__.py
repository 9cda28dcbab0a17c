"""Floor 2, the formats: bytes to words and back, without IO."""
