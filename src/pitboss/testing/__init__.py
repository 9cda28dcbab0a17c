"""Doubles that are shipped and verified: in-memory hands, a hand-turned clock, a scripted real process."""
