"""Deliveries to webhooks: what is sent, signed how, over which connections."""
