"""Connections, statements, rows by name, group commit, and what the drivers' errors mean."""
