"""The judge's prompts: versioned text files, read by seqtune.building.prompting."""
