"""The transformer all tokens pass through: packing, cache, blocks, context."""
