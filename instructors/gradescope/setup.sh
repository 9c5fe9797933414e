#!/usr/bin/env bash
# Runs once, as root, when Gradescope builds the image of the autograder: Python, bubblewrap, the project, its data.
set -euo pipefail

root="${AUTOGRADER_ROOT:-/autograder}"
export DEBIAN_FRONTEND=noninteractive LAB_TORCH=cpu

apt-get update
apt-get install -y --no-install-recommends bubblewrap

# The labs take Python 3.11 to 3.13; Ubuntu 24.04 has 3.12, Ubuntu 22.04 has 3.11 beside its own 3.10.
python=""
for version in 3.12 3.13 3.11; do
  if apt-get install -y --no-install-recommends "python$version" "python$version-venv"; then
    python="python$version"
    break
  fi
done
if [ -z "$python" ]; then
  echo "This image offers none of Python 3.11, 3.12, 3.13: choose Ubuntu 22.04 or later as its base." >&2
  exit 1
fi

cd "$root/source"
"$python" labkit/bootstrap.py --this-python --assets gpt2 shakespeare sotu wordnet wordtests \
  --also smollm2 minilm minilm-vocabulary
