"""Signed distribution of the catalog, the block list and what terminals need besides: a TUF repository of static files.

`repository` signs on the publishing side, `client` fetches on the terminal's; `keys` makes SM2 known to python-tuf.
"""
