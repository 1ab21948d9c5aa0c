"""What a binding says where its framework is not installed."""

from __future__ import annotations

from mailglass.errors import ConfigError, ConfigErrorType


def lacking(error: ModuleNotFoundError, *, extra: str) -> ConfigError:
    """Return the error that tells which extra has the package that was not found."""
    package = (error.name or "").partition(".")[0]
    return ConfigError(
        f"what is imported needs the package {package}",
        type=ConfigErrorType.OPTIONAL_DEP_MISSING,
        key=extra,
        dep=package,
        hint=f"pip install 'mailglass[{extra}]'",
    )
