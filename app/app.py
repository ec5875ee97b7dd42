"""`gunicorn --config ./app/config/server_config.py app.app:app`: the file server seed's form."""

from dsx.app import create_app

app = create_app()
