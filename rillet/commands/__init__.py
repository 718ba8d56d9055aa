# SPDX-License-Identifier: Apache-2.0
"""One module per command: `run` gives a JSON-able result, `text` says it to a person."""
