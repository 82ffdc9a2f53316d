"""What a run folder holds, as one page that a person can read and pass on."""

from seqtune.report.page import write_report

__all__ = ["write_report"]
