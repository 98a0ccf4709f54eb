"""The one exception that means "the user can mend this"."""


class UserError(ValueError):
    """A mistake of the user: one sentence that says what is wrong, where, and what to do.

    Entry points print it without a traceback and exit with code 2. It is a ``ValueError`` so that
    callers of the Python API can catch it without importing this module.
    """


class UnwritableError(UserError):
    """Results cannot be written: no loop that leaves out bad files may go on to the next."""


# What files raise that do not fit each other, whether torn, of another version or made by an enemy.
MISFITS = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError),
)


def first_line(error: BaseException) -> str:
    """The beginning of what an error says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def require(name: str, value: float, low: float, high: float | None = None) -> None:
    """``UserError`` naming the setting unless ``low <= value`` (and ``<= high``, if given)."""
    if not (value >= low and (high is None or value <= high)):
        bound = f"at least {low}" if high is None else f"within [{low}, {high}]"
        raise UserError(f"{name}={value} must be {bound}")
