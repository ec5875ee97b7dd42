"""The seed "Datastore": its routes are tasks, and transfers under them."""

from dsx.dialects.datastore.routes import router

__all__ = ["router"]
