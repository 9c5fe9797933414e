"""Speed beside that of named peers, measured in one process: `python -m benchmarks` (README.md says how)."""
