"""Analysis, benchmark runs and reports: code that only the tools use."""
