"""The names that annotations need, without `typing`: its import would take longer than that of this whole package."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as Any
    from typing import Generic as Generic
    from typing import Literal as Literal
    from typing import Protocol as Protocol
    from typing import overload as overload

    # With defaults in older Pythons too. Type checkers bring it along; nobody needs to install it.
    from typing_extensions import TypeVar as TypeVar
else:
    Any = object
    Protocol = object

    class Generic:
        """The base of a generic class."""

        def __class_getitem__(cls, parameters):
            """Leave the class as it is."""
            return cls

    def TypeVar(name, **options):
        """Stand in for a parameter of a generic class."""
        return name

    def overload(function):
        """Leave `function` as it is: its last definition counts."""
        return function
