from tests.support.catalogs import catalog_url, postgres

__all__ = ["catalog_url", "postgres"]
