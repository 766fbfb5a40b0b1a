"""`nox` runs the tests on each Python that is installed, with fastnn installed in an environment of its own."""

import nox

nox.options.error_on_missing_interpreters = False  # also in CI: what is there is tested
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Build, install and test; what follows `--` goes to pytest, as in `nox -- -k sparse`."""
    _test(session)


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    """Do the same with the lower bounds of pyproject.toml, for NumPy and the extras, on the oldest Python."""
    _test(session, "numpy==1.24.*", "scikit-learn==1.6.*", "onnx==1.16.*", "onnxruntime==1.18.*")


def _test(session: nox.Session, *pins: str) -> None:
    session.install(".[onnx,sklearn,test]", "onnxruntime", "pytest-xdist", *pins)
    tests = session.invoked_from + "/tests"
    session.chdir(session.create_tmp())  # away from the source tree, so that what was installed is what is tested
    session.run("pytest", "-n", "auto", tests, *session.posargs)
