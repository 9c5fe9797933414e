"""What LLM systems are made of, one idea a module: small enough to read, fast enough to use."""
