"""What can be wrong with a template, and with rendering one."""


class TemplateError(Exception):
    """The source is not a template; says where, counting lines and columns from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{message} at line {line}, column {column}")
        self.message = message
        self.line = line
        self.column = column


class RenderError(Exception):
    """A helper refuses its arguments, or a limit has been passed."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
