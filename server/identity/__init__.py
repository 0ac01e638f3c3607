"""Tokens: the keys that sign ours, and what makes one of ours or of an outside issuer hold."""
