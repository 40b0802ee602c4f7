"""Print the WebAssembly that `millstream.js` holds, from `pooling.wat`, in base64.

Run it after a change of `pooling.wat`, and put the output into the module:

    python deploy/browser/assemble.py
"""

import base64
from pathlib import Path

import wasmtime

_CUSTOM = 0  # a section that engines do not need: here, the names for debuggers


def assembled() -> str:
    """The module's bytes without names, in base64."""
    code = bytes(wasmtime.wat2wasm(Path(__file__).with_name("pooling.wat").read_text("utf-8")))
    kept, at = code[:8], 8
    while at < len(code):
        kind, (size, begin) = code[at], _unsigned(code, at + 1)
        if kind != _CUSTOM:
            kept += code[at : begin + size]
        at = begin + size
    return base64.b64encode(kept).decode()


def _unsigned(code: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number, and the address behind it."""
    number = shift = 0
    while True:
        byte = code[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


if __name__ == "__main__":
    print(f'const POOLING = "{assembled()}";')
