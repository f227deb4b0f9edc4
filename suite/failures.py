"""Why a command ends without a result: a request that can't be served, or a run that failed.

Each module has subclasses of its own. run_bench.py turns the two into exit codes 2 and 3.
"""


class BadRequest(Exception):  # noqa: N818 - the user's mistake, not the program's
    """Something was requested that can't be measured; the text names it, the limit and a way out.

    The command line exits with 2.
    """


class RunFailed(Exception):  # noqa: N818 - says what became of the run
    """The run can't go on, because of this machine or an interruption; the text says why.

    The command line exits with 3.
    """
