"""Streams of events: a reader for each reseller that has some, and what it has read for all of them."""
