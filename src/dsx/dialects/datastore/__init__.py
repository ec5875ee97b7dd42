"""The dialect of the seed "Datastore": tasks, and transfers under them."""

from dsx.dialects.datastore.routes import router

__all__ = ["router"]
