"""What a vocabulary makes of its corpus, for people: figures, drawings and a page to search."""
