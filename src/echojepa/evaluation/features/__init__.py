"""Features of clips by frozen backbones: which backbones, through the cache, and as tables."""
