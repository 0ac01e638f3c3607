"""What callers can do: permission, then the domain, then the storage.

One shape for all: who calls and plain arguments in, records out. Nothing here knows how a call came
(gRPC, generated code) or how records are kept (SQL). A thing that does not exist is None; who asked
for it knows how it is called there.
"""
