"""Labels by hand: an offline page to make them, and what they say of a judge."""
