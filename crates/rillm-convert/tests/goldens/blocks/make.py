"""Makes the random blocks beside this file and the values that the gguf package finds in them.

    pip install gguf==0.19.0 numpy
    python make.py

A file has some blocks of one type, then their values as float32. Bytes are random but for the scales, which are finite
half-precision numbers: the first block's are common ones, the others' the largest, the smallest, zeros of both signs
and negative ones.
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

HERE = Path(__file__).parent
# Where the half-precision scales of a block lie.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2],
    "Q6_K": [208],
}
EXTREMES = np.array([[0.0123, 0.456], [65504, -65504], [6e-8, 6.1e-5], [0.0, -0.0], [-1.5, 0.7]], np.float16)


def blocks(name, rng):
    _, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    # A block of 256 values takes a kilobyte as float32: three of these will do.
    rows = EXTREMES[:3] if name.endswith("K") else EXTREMES
    data = rng.integers(0, 256, (len(rows), size), np.uint8)
    for block, scales in zip(data, rows):
        for at, scale in zip(SCALES[name], scales):
            block[at : at + 2] = scale.reshape(1).view(np.uint8)
    return data


def plain(name, rng):
    """All exponents with some mantissas; no infinities and NaNs."""
    kind, exponent = {"F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80), "F32": (np.uint32, 0x7F800000)}[name]
    bits = rng.integers(0, np.iinfo(kind).max, 64, kind)
    return np.where(bits & exponent == exponent, bits & ~kind(exponent), bits).astype(kind).view(np.uint8).reshape(1, -1)


rng = np.random.default_rng(1)
for name in ["F32", "F16", "BF16", *SCALES]:
    data = blocks(name, rng) if name in SCALES else plain(name, rng)
    values = dequantize(data, GGMLQuantizationType[name]).astype("<f4")
    (HERE / f"{name.lower()}.bin").write_bytes(data.tobytes() + values.tobytes())
