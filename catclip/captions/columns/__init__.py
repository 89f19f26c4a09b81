"""A column of captions → labels in numpy: the default rule of `SynsetExtractor`, label for label."""
