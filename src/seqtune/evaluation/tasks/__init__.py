"""What the task suites have in common: items with their right answers, parts of an answer, and how alike texts are."""
