"""The version of this program, which is written nowhere else. CHANGELOG.md lists the changes of each version."""

VERSION = "0.1.0"
