"""Customers: created for a reseller, changed, read."""
