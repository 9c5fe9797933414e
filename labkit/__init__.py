"""What learners and instructors use: the `lab` command and the checker behind it.  Knows nothing of LLMs."""
