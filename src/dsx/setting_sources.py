"""Sources of settings: the environment, and the files that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from dsx.core.errors import Invalid
from dsx.core.paths import at_home

OF_SERVICE = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")
"""Values of the variables that Kubernetes names after services."""


class Variables(EnvSettingsSource):
    """The environment without the variables that Kubernetes sets for services named ``dsx…``.

    For a service ``dsx``, for example, every container has ``DSX_PORT=tcp://10.0.0.1:8000``.
    """

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = super()._load_env_vars()
        return {
            name: value
            for name, value in found.items()
            if not (name.lower().startswith("dsx_") and OF_SERVICE.fullmatch(value or ""))
        }


class NamedFiles(PydanticBaseSettingsSource):
    """Values in files, the way Docker and Kubernetes provide secrets.

    Each ``DSX_X_FILE`` of *variables* names a file that contains ``DSX_X``. Raises `Invalid` if a
    file cannot be read or is empty: an intended key must not be ignored silently.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], variables: PydanticBaseSettingsSource
    ) -> None:
        super().__init__(settings_cls)
        assert isinstance(variables, EnvSettingsSource)
        self._variables = variables.env_vars

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the field's file, and the key that other sources use for it."""
        variable = f"DSX_{field_name.upper()}_FILE"
        path = self._variables.get(variable.lower())
        spelling = field_name
        if isinstance(field.validation_alias, AliasChoices):
            spelling = str(field.validation_alias.choices[0])
        return (_content(variable, at_home(path)) if path else None), spelling, False

    def files(self) -> list[Path]:
        """Return the paths of the named files."""
        named = (f"dsx_{name}_file" for name in self.settings_cls.model_fields)
        return [at_home(path) for name in named if (path := self._variables.get(name))]

    def __call__(self) -> dict[str, Any]:
        """Return all values read from files."""
        fields = self.settings_cls.model_fields.items()
        found = (self.get_field_value(field, name) for name, field in fields)
        return {spelling: value for value, spelling, _ in found if value is not None}


def _content(variable: str, path: Path) -> str:
    try:
        value = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Invalid(f"{variable}: {path} cannot be read: {why}") from None
    if not value:
        raise Invalid(f"{variable}: {path} is empty")
    return value
