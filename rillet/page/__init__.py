# SPDX-License-Identifier: Apache-2.0
"""The page of ``rillet inspect --html``: a model's graph, drawn, in one file."""
