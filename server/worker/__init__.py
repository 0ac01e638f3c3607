"""Sends the e-mails that are due and records what became of them."""
