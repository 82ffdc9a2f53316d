"""How following is measured: items, a model's answers, a verdict a step, and shares with their intervals."""
