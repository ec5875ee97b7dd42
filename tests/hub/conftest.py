from tests.support.catalogs import catalog_url, postgres
from tests.support.indexes import root, run

__all__ = ["catalog_url", "postgres", "root", "run"]
