"""The suites that ship with the package: a module each, named like the suite, with its items and its scorer."""
