"""What a run trained, in the formats of others: one file a format."""
