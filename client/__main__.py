"""`python -m client`, in a checkout."""

from client.cli import main

if __name__ == "__main__":
    main()
