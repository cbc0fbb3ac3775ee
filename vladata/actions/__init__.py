"""Actions as models learn them: representation, chunks, statistics and normalization."""
