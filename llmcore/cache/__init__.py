"""Keys and values of tokens that were seen, so that they are computed once.

- contiguous  one stretch of memory a layer, allocated in advance
"""
