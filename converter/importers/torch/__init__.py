# SPDX-License-Identifier: Apache-2.0
"""The PyTorch importer: :func:`converter.from_torch`.

``model`` exports the module with ``torch.export``, ``graph`` walks its ATen calls, ``rows`` say how
each is written in TFLite's ops. Only here is the package ``torch`` imported, and only when a model
is converted.
"""
