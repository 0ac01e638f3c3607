"""The server that `billing-server dev` starts: the whole service, and what tests of its callers need.

Nothing that `serve` is made of imports this room, so that none of it can be reached there.
"""
