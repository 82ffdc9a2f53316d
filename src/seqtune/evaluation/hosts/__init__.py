"""The suites inside other evaluation programs: the same items and the same scorers, under their roof."""
