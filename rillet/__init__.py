# SPDX-License-Identifier: Apache-2.0
"""The command line of Rillet: ``rillet convert|quantize|run|bench|inspect``."""
