"""DSX Hub: take any file of any size, keep it safe, hand it back."""

__version__ = "0.1.0"
