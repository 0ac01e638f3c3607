"""The server that `billing-server dev` starts: the whole service, and what tests of its callers need.

Nothing else of the server imports this room, so that none of it can be reached in `serve`.
"""
