"""The command line: parse, call one public function, print. Everything else is a function one can import."""

from seqtune.cli.app import main

__all__ = ["main"]
