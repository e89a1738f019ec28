"""Byte-compile the modules that importing some modules loads.

usage: compile_modules.py ROOT MODULE...

Only what is imported: compiling all of scipy takes longer than building the tree. ROOT is the tree's
place now; in the byte code, paths are as they will be when the tree is `/`.
"""

import importlib
import py_compile
import sys


def main(root: str, names: list[str]) -> None:
    for name in names:
        importlib.import_module(name)
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    sources = sorted(file for file in files if file and file.endswith(".py") and file.startswith(root))
    for source in sources:
        py_compile.compile(
            source,
            dfile=source.removeprefix(root),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    print(f"byte code: {len(sources)} modules")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), sys.argv[2:])
