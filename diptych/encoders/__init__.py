"""Pixels to features: vision transformers, projectors, and how pictures are prepared for them."""
