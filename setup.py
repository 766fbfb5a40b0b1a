"""Build the extensions: src_c/kernels.c once per (instruction set, dtype), then the Cython modules that call it.

Everything about the package but its compiled parts is in pyproject.toml. FASTNN_BUILD, a comma-separated list, asks for
builds that only developers want:

    warnings-are-errors   a compiler warning in src_c stops the build
    sanitize              AddressSanitizer and UndefinedBehaviorSanitizer
    emulate               also the instruction sets that this processor lacks, written in those it has (needs SIMDe's
                          headers; x86-64 only); they can be selected by name and tested, and are never the default
"""

import os
import platform
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

C_SOURCES = sorted(str(path) for path in Path("src_c").rglob("*.[ch]"))
BUILD_OPTIONS = {"warnings-are-errors", "sanitize", "emulate"}
X86_64_FLAGS = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}
MSVC_FLAGS = {"avx2": ["/arch:AVX2"], "avx512": ["/arch:AVX512"]}


def build_options() -> set[str]:
    """Read FASTNN_BUILD."""
    options = {word for word in os.environ.get("FASTNN_BUILD", "").split(",") if word}
    if unknown := options - BUILD_OPTIONS:
        raise SystemExit(f"FASTNN_BUILD: unknown {sorted(unknown)}; valid are {sorted(BUILD_OPTIONS)}")
    return options


def target_machine() -> str:
    """Name the processor family that is built for: "x86_64", "aarch64", or another, which gets scalar code alone."""
    machine = sysconfig.get_platform().rpartition("-")[2].lower()
    if machine == "universal2":  # a Python for two families; we build for the one we run on
        machine = platform.machine().lower()
        os.environ.setdefault("ARCHFLAGS", f"-arch {machine}")
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def has_avx512() -> bool:
    """Whether this processor says so, where it can be asked."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512vl" in cpuinfo.read_text()


class BuildExtensions(build_ext):
    """build_ext that compiles the tables of kernels and links them into fastnn._kernels."""

    def finalize_options(self) -> None:
        """Run as many compilers at a time as there are processors, unless the command line says how many."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count() or 1

    def build_extension(self, extension: Extension) -> None:
        """Compile one extension module."""
        # The loops that matter are in src_c: -O2 takes nearly twice as long for Cython's C, and gains next to nothing.
        # Sanitized even -O1 takes twice as long as -Og, which tests, whose time is in src_c too, hardly notice.
        extension.extra_compile_args = self.common_flags("-Og" if "sanitize" in build_options() else "-O1")
        if "sanitize" in build_options():
            extension.extra_link_args = ["-fsanitize=address,undefined"]
        if "emulate" in build_options():  # as char is on Linux's machines that have NEON; SIMDe cannot do with it
            extension.extra_compile_args += ["-funsigned-char"]
        if extension.name == "fastnn._kernels":
            extension.extra_objects = [*self.compile_kernels(), *self.compile_loops("multiplying", "team", "multiply")]
        elif extension.name == "fastnn._engine":  # team.c keeps no state, so two copies are as good as one
            extension.extra_objects = self.compile_loops("training", "team", "shuffle", "train", "predict", "fit")
        super().build_extension(extension)

    @property
    def is_msvc(self) -> bool:
        """Whether flags are spelled Microsoft's way."""
        return self.compiler.compiler_type == "msvc"

    def common_flags(self, *optimization: str) -> list[str]:
        """List the flags for every C file. None may let the compiler contract or reorder floating-point operations."""
        if self.is_msvc:  # setuptools has /GL, by which the linker might mix code of several instruction sets
            return ["/std:c11", "/O2", "/GL-", "/fp:precise"]
        flags = ["-std=c11", *optimization, "-g0", "-fno-fast-math", "-ffp-contract=off"]
        if "sanitize" in build_options():
            flags += ["-g1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
            flags += ["-fno-sanitize-recover=undefined"]
        return flags

    def warning_flags(self) -> list[str]:
        """List the flags for our own C files."""
        if self.is_msvc:
            return ["/W3"]
        werror = ["-Werror"] if "warnings-are-errors" in build_options() else []
        return ["-Wall", "-Wextra", *werror]

    def compile_kernels(self) -> list[str]:
        """Compile dispatch.c, and kernels.c in an object directory of its own per (instruction set, dtype)."""
        emulated = [] if "emulate" not in build_options() else self.emulated_instruction_sets()
        macros = [(f"FASTNN_EMULATE_{name.upper()}", "1") for name in emulated]
        jobs = [("src_c/dispatch.c", "dispatch", macros, [])]
        for name, flags in self.instruction_sets().items():
            for bits in (32, 64):
                macros = [(f"FASTNN_ISA_{name.upper()}", "1"), ("FASTNN_BITS", str(bits))]
                if name in emulated:
                    macros.append(("FASTNN_EMULATED", "1"))
                jobs.append(("src_c/kernels.c", f"{name}_{bits}", macros, flags))
        with ThreadPoolExecutor(self.parallel) as pool:
            return [object_ for objects in pool.map(lambda job: self.compile(*job), jobs) for object_ in objects]

    def compile_loops(self, folder: str, *names: str) -> list[str]:
        """Compile what drives the kernels, for the platform's baseline, into a folder that no other extension uses."""
        objects = [self.compile(f"src_c/{name}.c", folder, [], []) for name in names]
        return [object_ for each in objects for object_ in each]

    def emulated_instruction_sets(self) -> list[str]:
        """Name what SIMDe has to stand in for on this machine."""
        if target_machine() != "x86_64":
            raise SystemExit("FASTNN_BUILD: 'emulate' needs an x86-64 machine")
        return ["neon"] if has_avx512() else ["avx512", "neon"]

    def instruction_sets(self) -> dict[str, list[str]]:
        """Map each instruction set to build to the flags that it needs."""
        sets: dict[str, list[str]] = {"scalar": []}
        if target_machine() == "x86_64":
            sets |= MSVC_FLAGS if self.is_msvc else X86_64_FLAGS
        elif target_machine() == "aarch64":
            sets["neon"] = []
        if "emulate" in build_options():
            # -O1, for SIMDe's code takes minutes at -O3; no psabi notes, for all calls that pass 512 bits are inlined.
            flags = [*X86_64_FLAGS["avx2"], "-O1", "-Wno-psabi"]
            sets |= dict.fromkeys(self.emulated_instruction_sets(), flags)
        elif "sanitize" in build_options() and "avx512" in sets and not has_avx512():
            # To sanitize it takes minutes, and none of it could run here.
            sets |= {"avx512": [*sets["avx512"], "-fno-sanitize=all", "-O0"]}
        return sets

    def compile(self, source: str, folder: str, macros: list[tuple[str, str]], flags: list[str]) -> list[str]:
        """Compile one C file into its own folder and name the object."""
        # Sanitized, -O1 is least for compiling and testing together: -Og compiles in half the time, but the tests of
        # the kernels take up to twice as long. Registers allocated without regard to loops take a quarter off.
        optimization = ["-O1", "-fira-region=one"] if "sanitize" in build_options() else ["-O3"]
        return self.compiler.compile(
            [source],
            output_dir=str(Path(self.build_temp, folder)),
            macros=macros,
            include_dirs=["src_c"],
            extra_postargs=[*self.common_flags(*optimization), *self.warning_flags(), *flags],
            depends=C_SOURCES,
        )


extensions = [
    Extension(f"fastnn.{name}", [f"fastnn/{name}.pyx"], include_dirs=["src_c"], depends=[*C_SOURCES, "setup.py"])
    for name in ("_kernels", "_two_layer", "_engine")
]

setup(
    ext_modules=cythonize(
        extensions,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "autotestdict": False,
            "auto_pickle": False,
        },
    ),
    cmdclass={"build_ext": BuildExtensions},
)
