"""The SDK. Imports ``dsx.core`` and nothing else of dsx."""
