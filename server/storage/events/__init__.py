"""The log of what happened: written with each change, read in its order."""
