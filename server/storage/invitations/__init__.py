"""Invitations from being made to their end."""
