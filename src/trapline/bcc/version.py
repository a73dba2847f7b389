"""The version of BCC whose interface this is (``bcc.version`` of the scripts)."""

__version__ = "0.37.0"
