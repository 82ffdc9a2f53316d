"""How a model learns the rows: rendered and masked by us, optimised by transformers."""
