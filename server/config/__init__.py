"""All settings, a module for each subject; `settings_sources.py` reads them."""

from server.config.serving import in_checkout
from server.config.settings import Settings, SettingsError

__all__ = ["Settings", "SettingsError", "in_checkout"]
