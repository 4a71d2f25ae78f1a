"""The error that ends a backup or a restore, with a message for the operator."""


class BackupError(Exception):
    """Raised when a backup cannot be made, or must not be restored; the message says why and what to do."""
