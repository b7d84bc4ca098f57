"""Times of what users call, commit by commit, for asv."""
