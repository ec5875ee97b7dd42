"""`uvicorn app.main:app`: the start-up form of the Datastore seed. `dsx serve` does more."""

from dsx.app import create_app

app = create_app()
