"""`python -m retrieval` is the command `retrieval`."""

from retrieval.cli import main

if __name__ == "__main__":
    main()
