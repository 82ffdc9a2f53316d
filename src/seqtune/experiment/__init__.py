"""Experiments: several arms that differ in one thing, several seeds, one table."""
