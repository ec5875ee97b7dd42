"""Settings of the server: the only place that reads the environment.

Order of precedence: flags of ``dsx serve``, the environment, ``.env`` in the working directory,
``dsx.toml`` there, defaults. In the environment and in ``.env``, ``DSX_X_FILE`` names a file that
has the value of ``DSX_X``, as Docker and Kubernetes hand out secrets.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
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
from dsx.core.sizes import parse_size
from dsx.core.web import network, path_prefix, web_address
from dsx.setting_sources import NamedFiles, Variables

Dialect = Literal["tinydist", "datastore", "fileserver", "storage", "dsx"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


def _parse_size(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip():
        return None if value in (None, "") or isinstance(value, str) else value
    return parse_size(value)


def _split_keys(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _split_or_none(value: Any) -> Any:
    return () if value == "none" else _split_keys(value)


Size = Annotated[int | None, BeforeValidator(_parse_size)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_keys)]
Scopes = Annotated[
    tuple[Literal["read", "write", "delete"], ...], NoDecode, BeforeValidator(_split_keys)
]
Dialects = Annotated[tuple[Dialect, ...], NoDecode, BeforeValidator(_split_or_none)]
Proxies = Annotated[
    tuple[Annotated[str, AfterValidator(lambda value: str(network(value)))], ...],
    NoDecode,
    BeforeValidator(_split_or_none),
]
Keys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_keys)]


class Settings(BaseSettings):
    """Everything an operator can set. A field ``x`` is the variable ``DSX_X``."""

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
        "", description="URL at which clients find the hub, if a proxy is in front of it."
    )
    root_path: Annotated[str, AfterValidator(path_prefix)] = Field(
        "", description="Path below which that proxy has the hub, as /hub; default: PUBLIC_URL's."
    )
    trusted_proxies: Proxies = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Networks of proxies that are believed; `none`: no proxy is.",
    )
    data_dir: Path = Field(Path(DATA_DIR), description="Where blobs and the catalog live.")
    api_key: Keys = Field(
        (),
        validation_alias=AliasChoices("DSX_API_KEY", "AUTH_TOKEN"),
        description="One or more API keys, separated by commas; none: an admin key is made.",
    )
    dataset_path: Path | None = Field(
        None, description="Directory whose sub-directories are served in place as datasets."
    )
    database_url: str = Field("", description="Catalog; default: SQLite in the data directory.")
    storage_url: str = Field(
        "",
        validation_alias=AliasChoices("DSX_STORAGE_URL", "DSX_STORAGE"),
        description="Blobs: file:///directory or s3://bucket; default: the data directory.",
    )
    max_file_size: Size = Field(None, ge=0, description="Largest file in bytes; default: no limit.")
    fileserver_max: Size = Field(
        16 * 1024**2, ge=0, description="Largest upload by POST /upload=FILE, in bytes."
    )
    cors_origins: Origins = Field(
        ("*",),
        description="Web pages of these origins may call the hub, with a key of their own.",
    )
    workers: int = Field(1, ge=1, le=256, description="Server processes.")
    trash_days: float = Field(30, gt=0, description="Days until the trash drops a file for good.")
    quota: Size = Field(None, ge=0, description="Bytes of all files of one owner; default: any.")
    quota_files: int | None = Field(
        None, ge=0, description="Versions of all files of one owner; default: any number."
    )
    max_uploads: int | None = Field(
        20_000, ge=1, description="Uploads of one owner under way at once, partial ones included."
    )
    max_tasks: int | None = Field(
        20_000, ge=1, description="Tasks of one owner waiting or running, beside those of uploads."
    )
    max_tokens: int | None = Field(
        1_000, ge=1, description="Tokens of one owner; and sessions, of which the oldest end."
    )
    max_shares: int | None = Field(10_000, ge=1, description="Shares of one owner.")
    max_event_streams: int = Field(
        50, ge=1, description="Event streams of one owner at once, by process."
    )
    signup: Literal["open", "invite", "closed"] = Field(
        "closed", description="Who may make an account: anybody, the invited, or only admins."
    )
    anonymous: Scopes = Field(
        (),
        description="What may do who shows no credential: read, write, delete; default: none.",
    )
    open_datasets: bool = Field(
        True, description="Every account reads every dataset; false: those shared with it."
    )
    secret_key: Keys = Field(
        (),
        description="Encrypts what the catalog keeps of secrets; several: the first encrypts, all "
        "decrypt. Default: one made in the data directory.",
    )
    session_ttl: float = Field(
        30 * 24 * 3600, gt=0, description="Seconds until a browser has to sign in again."
    )
    jwt_ttl: float = Field(12 * 3600, gt=0, description="Seconds for which a signed token is good.")
    oidc_issuer: str = Field(
        "", description="URL of an OpenID Provider whose accounts may sign in; default: none."
    )
    oidc_client_id: str = Field(
        "", validate_default=True, description="How the hub is known to that provider."
    )
    oidc_client_secret: SecretStr | None = Field(
        None, description="What the hub proves that with; default: it is a public client."
    )
    oidc_signup: bool = Field(
        False, description="Who signs in there for the first time gets an account, whatever SIGNUP."
    )
    oidc_name_claim: str = Field(
        "", description="What accounts are named after; default: preferred_username, else email."
    )
    rate_limit: float | None = Field(
        None, gt=0, description="Requests a second of one principal, by process; default: any."
    )
    audit_days: float = Field(365, gt=0, description="Days for which the audit log is kept.")
    audit_rows: int = Field(
        1_000_000, gt=0, description="Entries of the audit log; the oldest refusals go first."
    )
    audit_size: Annotated[int, BeforeValidator(_parse_size)] = Field(
        256 * 1024**2, gt=0, description="Bytes of the audit log, about; bound as its entries."
    )
    dialects: Dialects = Field(
        DIALECTS, description="Seed systems whose routes are served; `none`: none of them."
    )
    upload_expiry: float = Field(
        24 * 3600, gt=0, description="Seconds an unfinished upload waits for its next byte."
    )
    require_checksum: bool = Field(
        default=False, description="Uploads through /storage/ have to tell their MD5."
    )
    task_ttl: float = Field(
        24 * 3600, gt=0, description="Seconds after which a task ends, whatever it is doing."
    )
    task_max_seconds: float | None = Field(
        None, gt=0, description="Seconds a transfer may run before it is aborted; default: any."
    )
    pause_grace: float = Field(
        20, ge=0, description="Seconds a paused request is kept open before it has to come again."
    )
    event_seconds: float = Field(
        3600, gt=0, description="Seconds after which a stream of events ends; clients come again."
    )
    orphan_grace: float = Field(
        24 * 3600,
        ge=0,
        description="Seconds until bytes that a crash left without a record are removed.",
    )
    collect_interval: float = Field(
        600, gt=0, description="Seconds between two rounds that drop what has expired."
    )
    quarantine_days: float = Field(
        30, ge=0, description="Days for which blobs without a record are kept aside."
    )
    reserve: Size = Field(
        None,
        ge=0,
        description="Bytes kept free for the catalog, to delete on a full disk; default: 16 MiB, "
        "a tenth of a small disk.",
    )
    scrub_days: float = Field(
        30, ge=0, description="Days in which all stored bytes are checked once; 0: on request only."
    )
    scrub_rate: Size = Field(
        20 * 1024**2, ge=1, description="Bytes a second that checking them reads at most."
    )
    stall_timeout: float = Field(
        60, gt=0, description="Seconds a sender may be silent in the middle of a request."
    )
    min_rate: Size = Field(
        512, ge=0, description="Bytes a second that a sender has to reach on average; 0: any."
    )
    max_connections: int = Field(
        16_384,
        ge=1,
        description="Connections of a server process; beyond: 503. At most about half of the files "
        "it may open.",
    )
    log_level: str = Field("info", description="debug, info, warning or error.")

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.lower() not in {"debug", "info", "warning", "error"}:
            raise ValueError("log_level is debug, info, warning or error")
        return value.lower()

    @field_validator("root_path")
    @classmethod
    def _one_path(cls, value: str, info: ValidationInfo) -> str:
        public = urlsplit(info.data.get("public_url") or "")
        if value and public.netloc and public.path != value:
            raise ValueError(f"DSX_PUBLIC_URL says {public.path or '/'}: set one of them")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _safe_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise ValueError("the issuer is an https:// URL")
        return value

    @field_validator("oidc_client_id")
    @classmethod
    def _named_client(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("oidc_issuer") and not value:
            raise ValueError("it is required with DSX_OIDC_ISSUER")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:", "postgresql:", "postgresql+psycopg:")):
            raise ValueError("the catalog is on sqlite:///FILE or postgresql://USER@HOST/NAME")
        return value

    @field_validator("data_dir", "dataset_path")
    @classmethod
    def _expanded(cls, value: Path | None) -> Path | None:
        """``~`` is the home directory in files of settings, too, which no shell reads."""
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
        """Flags, environment, ``.env``, ``dsx.toml``."""
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
        """Where the server keeps what is its own, by the setting that says so."""
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
        """The configured API keys in the clear."""
        return tuple(key.get_secret_value() for key in self.api_key)

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The configured secret keys in the clear."""
        return tuple(key.get_secret_value() for key in self.secret_key)

    def export(self) -> None:
        """Put the settings into the environment, so that worker processes read the same."""
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
