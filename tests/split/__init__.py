"""Resellers split over several databases: a simulation, and what it takes to move one of them."""
