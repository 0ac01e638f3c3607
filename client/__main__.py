"""`python -m client`, in a checkout."""

from client.start import start

if __name__ == "__main__":
    start("billing")
