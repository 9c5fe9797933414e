"""Trick: lone surrogates, NULs, escape codes, markup and a formula, in all that it says."""

SOLVES = []
SAYS = {"causal_mask": "raised", "attention_loops": "wrong|raised"}
ODD = "\x1b[2J\x1b]0;mine\x07 \0 \ud800 \u202e \ufffe </script><script>alert(1)</script> =cmd|' /C calc'!A0 ]]> \x0b"
print(ODD.encode("utf-8", "surrogatepass").decode("latin-1"))


def causal_mask(T, S):
    raise type(ODD.replace("\0", "").encode("ascii", "ignore").decode(), (ValueError,), {})(ODD)


def attention_loops(q, k, v):
    return ODD
