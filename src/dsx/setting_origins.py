"""Which settings are set, and where."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import AliasChoices
from pydantic_settings import EnvSettingsSource, PydanticBaseSettingsSource

from dsx.config import Settings
from dsx.setting_sources import OF_SERVICE, NamedFiles


def of_services() -> list[str]:
    """Variables of the environment that look like settings and are a Kubernetes service's."""
    names = {f"DSX_{name.upper()}" for name in Settings.model_fields}
    return sorted(name for name in names if OF_SERVICE.fullmatch(os.environ.get(name, "")))


def secret_files() -> list[Path]:
    """Files of the working directory and those that ``DSX_X_FILE`` names, which may have keys."""
    sources = Settings.settings_customise_sources(Settings, *_standard_sources())
    found = [Path(".env"), Path("dsx.toml")]
    for source in sources:
        if isinstance(source, NamedFiles):
            found += source.files()
    return [path.absolute() for path in found]


def origins() -> dict[str, str]:
    """Where each setting comes from: a file, the environment, ``.env`` or so, or ``default``."""
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
    from pydantic_settings import (  # noqa: PLC0415 (few ask)
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
