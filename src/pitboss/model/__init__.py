"""Floor 1, the words: nothing but data. Everything may import it; it imports nothing of ours."""
