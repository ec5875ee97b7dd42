"""The SDK. Of dsx it imports only ``dsx.core``."""
