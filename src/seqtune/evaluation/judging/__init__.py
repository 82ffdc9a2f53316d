"""How a judge is asked and read: checklists, a verdict a step with its quote, the original's one mark, and pairs."""
