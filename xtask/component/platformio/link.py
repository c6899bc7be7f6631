"""Links the archive of the board's chip. PlatformIO runs it in this directory."""
from os.path import isfile, join, realpath

Import("env")  # noqa: F821

chip = env.BoardConfig().get("build.mcu")  # noqa: F821
archive = realpath(join("src", chip, "librillm.a"))
if not isfile(archive):
    raise SystemExit(f"rillm has no archive for {chip}; `cargo xtask component platformio --chip {chip}` builds it")
env.Append(LIBPATH=[realpath(join("src", chip))], LIBS=["rillm"])  # noqa: F821
