"""Properties are about what is true, not how fast: a busy machine fails none of them."""

from hypothesis import settings

settings.register_profile("datamover", deadline=None)
settings.load_profile("datamover")
