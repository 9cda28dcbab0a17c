"""The commands by what they are for: starting runs, looking at them, keeping house, answering."""
