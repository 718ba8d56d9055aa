# SPDX-License-Identifier: Apache-2.0
"""What `rillet build` is made of: builds for a few models, sizes, wheels."""
