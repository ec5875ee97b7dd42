# The hub, from this checkout:
#
#     docker build -t dsx-hub .
#     docker run -p 8000:8000 -v dsx:/data -e DSX_API_KEY=… dsx-hub
#
# Without DSX_API_KEY it makes an admin key, and keeps it in /data/admin.key.
FROM python:3.11-slim
WORKDIR /src
COPY . .
RUN python -m pip install --no-cache-dir -c constraints.txt ".[server]"
RUN useradd --system --no-create-home dsx && install -d -o dsx -g dsx /data
ENV DSX_HOST=0.0.0.0 DSX_PORT=8000 DSX_DATA_DIR=/data
WORKDIR /data
USER dsx
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=10s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"DSX_PORT\"]}/health', timeout=5)"]
CMD ["dsx", "serve", "--make-key"]
