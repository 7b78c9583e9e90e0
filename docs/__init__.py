"""Pages about the execution agent; `docs.generate` writes those that repeat the code."""
