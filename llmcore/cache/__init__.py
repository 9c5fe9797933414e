"""Keys and values of tokens that were seen, so that they are computed once.

- base        what a model asks of a cache, whatever its memory looks like inside
- contiguous  one stretch of memory a layer, allocated in advance
- blocks      a pool of small blocks: tables, reference counts, copy-on-write, reuse of prefixes
- paged       a batch of sequences on such a pool
"""
