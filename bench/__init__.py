"""Benchmarks: `make bench` runs all groups, `make bench ONLY=build` one. Figures are ratios taken in one run."""
