# SPDX-License-Identifier: Apache-2.0
"""Programs that show the whole path: training on the host, inference on the device."""
