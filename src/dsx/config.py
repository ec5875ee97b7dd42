"""Server settings: the only module that reads the environment.

Order of precedence: flags of ``dsx serve``, the environment, ``.env`` in the working directory,
``dsx.toml`` there, defaults. In the environment and in ``.env``, ``DSX_X_FILE`` names a file that
contains the value of ``DSX_X``, the way Docker and Kubernetes provide secrets.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dsx.core.paths import at_home
from dsx.core.running import DATA_DIR
from dsx.core.web import network, path_prefix, web_address
from dsx.logs import LogFormat
from dsx.setting_sources import NamedFiles, Variables
from dsx.setting_values import parts, parts_or_none, size

Dialect = Literal["tinydist", "datastore", "fileserver", "storage", "dsx"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


Size = Annotated[int | None, BeforeValidator(size)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parts)]
Scopes = Annotated[tuple[Literal["read", "write", "delete"], ...], NoDecode, BeforeValidator(parts)]
Dialects = Annotated[tuple[Dialect, ...], NoDecode, BeforeValidator(parts_or_none)]
Proxies = Annotated[
    tuple[Annotated[str, AfterValidator(lambda value: str(network(value)))], ...],
    NoDecode,
    BeforeValidator(parts_or_none),
]
Keys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(parts)]


class Settings(BaseSettings):
    """All server settings. Field ``x`` is set by the variable ``DSX_X``."""

    model_config = SettingsConfigDict(
        env_prefix="DSX_",
        env_file=".env",
        env_ignore_empty=True,
        toml_file="dsx.toml",
        extra="ignore",
        populate_by_name=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    public_url: Annotated[str, AfterValidator(web_address)] = Field(
        "", description="URL by which clients reach the hub, if it is behind a proxy."
    )
    root_path: Annotated[str, AfterValidator(path_prefix)] = Field(
        "", description="Path prefix of the hub behind a proxy, e.g. /hub; default: PUBLIC_URL's."
    )
    trusted_proxies: Proxies = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Networks of proxies whose forwarding headers are trusted; `none`: trust none.",
    )
    data_dir: Path = Field(Path(DATA_DIR), description="Directory for blobs and the catalog.")
    api_key: Keys = Field(
        (),
        validation_alias=AliasChoices("DSX_API_KEY", "AUTH_TOKEN"),
        description="One or more API keys, separated by commas; default: a generated admin key.",
    )
    dataset_path: Path | None = Field(
        None, description="Directory whose subdirectories are served in place as datasets."
    )
    database_url: str = Field("", description="Catalog URL; default: SQLite in the data directory.")
    storage_url: str = Field(
        "",
        validation_alias=AliasChoices("DSX_STORAGE_URL", "DSX_STORAGE"),
        description="Blob store: file:///directory or s3://bucket; default: the data directory.",
    )
    max_file_size: Size = Field(None, ge=0, description="Largest file in bytes; default: no limit.")
    fileserver_max: Size = Field(
        16 * 1024**2, ge=0, description="Largest upload by POST /upload=FILE, in bytes."
    )
    cors_origins: Origins = Field(
        ("*",),
        description="Origins whose web pages may call the hub, with their own credentials.",
    )
    workers: int = Field(1, ge=1, le=256, description="Server processes.")
    trash_days: float = Field(30, gt=0, description="Days before deleted files are purged.")
    quota: Size = Field(None, ge=0, description="Bytes stored per owner; default: no limit.")
    quota_files: int | None = Field(
        None, ge=0, description="File versions per owner; default: no limit."
    )
    max_uploads: int | None = Field(
        20_000, ge=1, description="Unfinished uploads per owner, partial uploads included."
    )
    max_tasks: int | None = Field(
        20_000, ge=1, description="Waiting or running tasks per owner, not counting uploads."
    )
    max_tokens: int | None = Field(
        1_000, ge=1, description="Tokens per owner; also sessions, the oldest of which are ended."
    )
    max_shares: int | None = Field(10_000, ge=1, description="Shares per owner.")
    max_event_streams: int = Field(
        50, ge=1, description="Concurrent event streams per owner, in each process."
    )
    signup: Literal["open", "invite", "closed"] = Field(
        "closed", description="Who may create an account: anyone, invited users, or only admins."
    )
    anonymous: Scopes = Field(
        (),
        description="What unauthenticated requests may do: read, write, delete; default: nothing.",
    )
    open_datasets: bool = Field(
        True, description="Every account may read every dataset; false: only those shared with it."
    )
    secret_key: Keys = Field(
        (),
        description="Encrypts secrets in the catalog; with several, the first encrypts and all "
        "decrypt. Default: one generated in the data directory.",
    )
    session_ttl: float = Field(
        30 * 24 * 3600, gt=0, description="Lifetime of a browser session in seconds."
    )
    jwt_ttl: float = Field(12 * 3600, gt=0, description="Lifetime of a signed token in seconds.")
    oidc_issuer: str = Field(
        "", description="URL of an OpenID Provider whose accounts may sign in; default: none."
    )
    oidc_client_id: str = Field(
        "", validate_default=True, description="Client ID of the hub at that provider."
    )
    oidc_client_secret: SecretStr | None = Field(
        None, description="Client secret; default: none, the hub is a public client."
    )
    oidc_signup: bool = Field(
        False, description="Create an account at the first OpenID sign-in, whatever SIGNUP is."
    )
    oidc_name_claim: str = Field(
        "", description="Claim that names accounts; default: preferred_username, else email."
    )
    rate_limit: float | None = Field(
        None,
        gt=0,
        description="Requests per second of one account, divided among the workers; default: any.",
    )
    audit_days: float = Field(365, gt=0, description="Days that audit log entries are kept.")
    audit_rows: int = Field(
        1_000_000, gt=0, description="Maximum audit log entries; oldest refusals are deleted first."
    )
    audit_size: Annotated[int, BeforeValidator(size)] = Field(
        256 * 1024**2, gt=0, description="Approximate maximum size of the audit log, in bytes."
    )
    dialects: Dialects = Field(
        DIALECTS, description="Seed systems whose routes are served; `none`: serve none."
    )
    upload_expiry: float = Field(
        24 * 3600, gt=0, description="Seconds without new bytes after which an upload expires."
    )
    require_checksum: bool = Field(
        default=False, description="Require an MD5 of uploads through /storage/."
    )
    task_ttl: float = Field(
        24 * 3600, gt=0, description="Seconds after which a task ends, in whatever state."
    )
    task_max_seconds: float | None = Field(
        None, gt=0, description="Seconds before a running transfer is aborted; default: no limit."
    )
    pause_grace: float = Field(
        20, ge=0, description="Seconds a paused request stays open before its client must retry."
    )
    event_seconds: float = Field(
        3600, gt=0, description="Seconds after which an event stream ends; clients reconnect."
    )
    orphan_grace: float = Field(
        24 * 3600,
        ge=0,
        description="Seconds before blobs left without a record by a crash are removed.",
    )
    collect_interval: float = Field(
        600, gt=0, description="Seconds between collections of expired data."
    )
    quarantine_days: float = Field(
        30, ge=0, description="Days that blobs without a record stay in quarantine."
    )
    reserve: Size = Field(
        None,
        ge=0,
        description="Bytes kept free for the catalog, so that deleting works on a full disk; "
        "default: 16 MiB, or a tenth of a small disk.",
    )
    scrub_days: float = Field(
        30, ge=0, description="Days per full check of all stored bytes; 0: on request only."
    )
    scrub_rate: Size = Field(
        20 * 1024**2, ge=1, description="Maximum bytes per second read by that check."
    )
    stall_timeout: float = Field(
        60, gt=0, description="Seconds without incoming bytes before a request is aborted."
    )
    min_rate: Size = Field(
        512, ge=0, description="Minimum average bytes per second of a sender; 0: no minimum."
    )
    max_connections: int = Field(
        16_384,
        ge=1,
        description="Connections per server process; more get 503. At most about half of the "
        "process's open-file limit.",
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: LogFormat = Field(
        "auto", description="`text` or `json` lines; `auto`: text on a terminal, else JSON."
    )

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.lower() not in {"debug", "info", "warning", "error"}:
            raise ValueError("log_level must be debug, info, warning or error")
        return value.lower()

    @field_validator("root_path")
    @classmethod
    def _one_path(cls, value: str, info: ValidationInfo) -> str:
        public = urlsplit(info.data.get("public_url") or "")
        if value and public.netloc and public.path != value:
            raise ValueError(f"DSX_PUBLIC_URL has the path {public.path or '/'}: set only one")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _safe_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise ValueError("the issuer must be an https:// URL")
        return value

    @field_validator("oidc_client_id")
    @classmethod
    def _named_client(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("oidc_issuer") and not value:
            raise ValueError("required with DSX_OIDC_ISSUER")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:", "postgresql:", "postgresql+psycopg:")):
            raise ValueError("must be sqlite:///FILE or postgresql://USER@HOST/NAME")
        return value

    @field_validator("data_dir", "dataset_path")
    @classmethod
    def _expanded(cls, value: Path | None) -> Path | None:
        """Expand ``~``: no shell does so in settings files."""
        return None if value is None else at_home(value)

    @field_validator("dataset_path")
    @classmethod
    def _directory(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is not a directory")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (see `Variables`)
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the signature is pydantic's)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, highest precedence first."""
        variables = Variables(settings_cls)
        return (
            init_settings,
            variables,
            NamedFiles(settings_cls, variables),
            dotenv_settings,
            NamedFiles(settings_cls, dotenv_settings),
            TomlConfigSettingsSource(settings_cls),
        )

    @property
    def database(self) -> str:
        """URL of the catalog, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'catalog.db'}"

    @property
    def storage(self) -> str:
        """URL of the blob store, with the default filled in."""
        return self.storage_url or f"file://{self.data_dir.absolute()}"

    @property
    def own_directories(self) -> dict[str, Path]:
        """The directories of the server's own data, by the setting that configures each."""
        found = {"DSX_DATA_DIR": self.data_dir.absolute()}
        parts = urlsplit(self.storage_url)
        if parts.scheme == "file":
            found["DSX_STORAGE_URL"] = Path(url2pathname(parts.path))
        return found

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return _is_loopback(self.host)

    @property
    def keys(self) -> tuple[str, ...]:
        """The configured API keys in plain text."""
        return tuple(key.get_secret_value() for key in self.api_key)

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The configured secret keys in plain text."""
        return tuple(key.get_secret_value() for key in self.secret_key)

    def export(self) -> None:
        """Write the settings to the environment, for worker processes to read."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif name in {"api_key", "secret_key"}:
                value = ",".join(key.get_secret_value() for key in value)
            elif name in {"dialects", "trusted_proxies"}:
                value = ",".join(value) or "none"
            elif isinstance(value, tuple):
                value = ",".join(value)
            if value not in (None, ""):
                os.environ[f"DSX_{name.upper()}"] = str(value)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
