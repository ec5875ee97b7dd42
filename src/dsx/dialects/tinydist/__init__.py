"""The dialect of tinydist, the first of the seed systems."""

from dsx.dialects.tinydist.routes import router

__all__ = ["router"]
