"""The examples in docstrings of pure rooms are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import keyturn.crypto
import keyturn.formats
import keyturn.tlog

MODULES = sorted(
    f"{room.__name__}.{module.name}"
    for room in (keyturn.formats, keyturn.crypto, keyturn.tlog)
    for module in pkgutil.iter_modules(room.__path__)
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_this_file_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
