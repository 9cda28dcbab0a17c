"""Floor 2, the rules: pure. Signals in, facts and effects out; no clock, no files, no chance."""
