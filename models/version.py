"""The version of this program: the only place that says it. CHANGELOG.md tells what came with each version."""

VERSION = "0.1.0"
