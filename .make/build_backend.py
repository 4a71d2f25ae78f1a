"""A build backend (PEP 517): setuptools, but it also compiles the translations into the wheel.

Without them an installed wheel would be English only.
"""

from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - the hooks that are as usual


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Compile the translations and build the wheel; return its file name."""
    for source in Path("tasks/wording/translations").glob("*/LC_MESSAGES/*.po"):
        with source.open("rb") as catalogue, source.with_suffix(".mo").open("wb") as compiled:
            write_mo(compiled, read_po(catalogue))
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
