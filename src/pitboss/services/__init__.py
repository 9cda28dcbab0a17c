"""Floor 5, doors: what others reach a run at work through; orders in, answers and events out."""
