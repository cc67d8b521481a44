"""Procedural worlds: endless, seeded data whose truth is known exactly."""
