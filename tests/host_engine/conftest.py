# SPDX-License-Identifier: Apache-2.0
"""Each test starts with an empty default graph."""

import pytest

import host_engine as tf


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()
    yield
