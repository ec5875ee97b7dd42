"""Where settings come from beside plain files: the environment, and files that it names."""

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
"""What Kubernetes sets variables to that it names after services."""


class Variables(EnvSettingsSource):
    """The environment, without what Kubernetes puts there for services named ``dsx…``.

    For a service `dsx` every container has ``DSX_PORT=tcp://10.0.0.1:8000`` and more of that kind.
    """

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = super()._load_env_vars()
        return {
            name: value
            for name, value in found.items()
            if not (name.lower().startswith("dsx_") and OF_SERVICE.fullmatch(value or ""))
        }


class NamedFiles(PydanticBaseSettingsSource):
    """Values in files, as Docker and Kubernetes hand out secrets.

    Each ``DSX_X_FILE`` of *variables* names one that has ``DSX_X``.
    `Invalid` if such a file cannot be read or is empty: a key that somebody meant to set must not
    be missed in silence.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], variables: PydanticBaseSettingsSource
    ) -> None:
        super().__init__(settings_cls)
        assert isinstance(variables, EnvSettingsSource)
        self._variables = variables.env_vars

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the field's file, and the spelling under which other sources give it."""
        variable = f"DSX_{field_name.upper()}_FILE"
        path = self._variables.get(variable.lower())
        spelling = field_name
        if isinstance(field.validation_alias, AliasChoices):
            spelling = str(field.validation_alias.choices[0])
        return (_content(variable, at_home(path)) if path else None), spelling, False

    def files(self) -> list[Path]:
        """The files that are named."""
        named = (f"dsx_{name}_file" for name in self.settings_cls.model_fields)
        return [at_home(path) for name in named if (path := self._variables.get(name))]

    def __call__(self) -> dict[str, Any]:
        """All values that are given by files."""
        fields = self.settings_cls.model_fields.items()
        found = (self.get_field_value(field, name) for name, field in fields)
        return {spelling: value for value, spelling, _ in found if value is not None}


def _content(variable: str, path: Path) -> str:
    try:
        value = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Invalid(f"{variable}: {path} cannot be read: {why}") from None
    if not value:
        raise Invalid(f"{variable}: {path} is empty")
    return value
