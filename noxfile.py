"""`nox` runs the tests on each Python that is installed, with fastnn installed in an environment of its own."""

import nox

nox.options.error_on_missing_interpreters = False  # also in CI: what is there is tested
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Build, install and test; what follows `--` goes to pytest."""
    session.install(".[test]", "pytest-xdist")
    tests = str(session.invoked_from + "/tests")
    session.chdir(session.create_tmp())  # away from the source tree, so that what was installed is what is tested
    session.run("pytest", "-n", "auto", *(session.posargs or [tests]))
