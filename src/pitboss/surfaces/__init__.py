"""Floor 6, faces: they read views and send orders."""
