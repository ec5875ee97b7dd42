"""What gunicorn reads for `gunicorn --config ./app/config/server_config.py app.app:app`.

Everything else is a setting of the hub, in the environment or in `.env`: see `dsx config`.
"""

import os

HOST = os.environ.get("DSX_HOST", "127.0.0.1")
PORT = os.environ.get("DSX_PORT", "5000")
MAX_CONTENT_LENGTH = os.environ.get("DSX_FILESERVER_MAX", "16MiB")  # of POST /upload=FILE

bind = f"{HOST}:{PORT}"
worker_class = "dsx.gunicorn.Worker"
control_socket_disable = True
raw_env = [f"DSX_FILESERVER_MAX={MAX_CONTENT_LENGTH}"]
