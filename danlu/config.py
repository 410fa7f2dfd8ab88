"""Configuration: a TOML file plus dotted overrides become one frozen dataclass."""


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, or impossible together with another."""
