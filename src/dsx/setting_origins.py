"""The origins of settings, and variables that only look like settings."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import AliasChoices
from pydantic_settings import EnvSettingsSource, PydanticBaseSettingsSource

from dsx.config import Settings
from dsx.setting_sources import OF_SERVICE, NamedFiles

_OTHERS = {"DSX_CA_FILE", "DSX_CONFIG", "DSX_DEBUG", "DSX_SERVER_URL"}
"""Variables that only commands read, not servers."""
_OF_KUBERNETES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT.*|PORT_\d+_.*)$")


def of_services() -> list[str]:
    """Return variables named like settings that Kubernetes has set for a service."""
    names = {f"DSX_{name.upper()}" for name in Settings.model_fields}
    return sorted(name for name in names if OF_SERVICE.fullmatch(os.environ.get(name, "")))


def unknown() -> list[str]:
    """Return ``DSX_`` variables that are not settings, possibly misspelt.

    Variables that Kubernetes sets for a service named ``dsx`` are not included.
    """
    known = {f"DSX_{name.upper()}" for name in Settings.model_fields} | _OTHERS
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            known |= {str(choice) for choice in field.validation_alias.choices}
    known |= {f"{name}_FILE" for name in known}
    found = {name for name in os.environ if name.startswith("DSX_")} - known
    return sorted(name for name in found if not _OF_KUBERNETES.search(name))


def secret_files() -> list[Path]:
    """Return files that may contain keys: ``.env``, ``dsx.toml`` and those of ``DSX_X_FILE``."""
    sources = Settings.settings_customise_sources(Settings, *_standard_sources())
    found = [Path(".env"), Path("dsx.toml")]
    for source in sources:
        if isinstance(source, NamedFiles):
            found += source.files()
    return [path.absolute() for path in found]


def origins() -> dict[str, str]:
    """Return the origin of each setting, such as ``environment``, ``.env`` or ``default``."""
    sources = Settings.settings_customise_sources(Settings, *_standard_sources())
    labels = ("flag", "environment", "environment (_FILE)", ".env", ".env (_FILE)", "dsx.toml")
    found: dict[str, str] = {}
    for label, source in zip(labels, sources, strict=True):
        given = {key.lower() for key in source()}
        for name, field in Settings.model_fields.items():
            spellings = {name}
            if isinstance(field.validation_alias, AliasChoices):
                spellings |= {str(choice).lower() for choice in field.validation_alias.choices}
            if spellings & given:
                found.setdefault(name, label)
    return {name: found.get(name, "default") for name in Settings.model_fields}


def _standard_sources() -> tuple[PydanticBaseSettingsSource, ...]:
    from pydantic_settings import (  # noqa: PLC0415 (rarely needed)
        DotEnvSettingsSource,
        InitSettingsSource,
        SecretsSettingsSource,
    )

    return (
        InitSettingsSource(Settings, {}),
        EnvSettingsSource(Settings),
        DotEnvSettingsSource(Settings),
        SecretsSettingsSource(Settings),
    )
