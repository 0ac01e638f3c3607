"""The same Invite as most would build it: FastAPI, SQLAlchemy's ORM, one commit a request."""
