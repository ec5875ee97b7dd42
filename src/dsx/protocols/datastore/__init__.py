"""The seed "Datastore": its routes are tasks, and transfers under them."""

from dsx.protocols.datastore.routes import router

__all__ = ["router"]
