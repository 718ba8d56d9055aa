# SPDX-License-Identifier: Apache-2.0
"""`make bench`: the matrix products against the core's peak, then whole models beside LiteRT."""

from benchmarks import beside_litert, gemm

if __name__ == "__main__":
    gemm.main([])
    print()
    beside_litert.main([])
