"""The public names, with their types."""

from ._config import (
    get_include as get_include,
)
from ._config import (
    get_library_dir as get_library_dir,
)
from ._create import (
    attach as attach,
)
from ._create import (
    create as create,
)
from ._create import (
    delete as delete,
)
from ._create import (
    new as new,
)
from ._discover import (
    Discovery as Discovery,
)
from ._discover import (
    Found as Found,
)
from ._discover import (
    check as check,
)
from ._discover import (
    discover as discover,
)
from ._discover import (
    from_cookie as from_cookie,
)
from ._discover import (
    identify as identify,
)
from ._discover import (
    is_netns as is_netns,
)
from ._discover import (
    nsids as nsids,
)
from ._discover import (
    pids as pids,
)
from ._errors import (
    ClosedError as ClosedError,
)
from ._errors import (
    Error as Error,
)
from ._errors import (
    ExistsError as ExistsError,
)
from ._errors import (
    InvalidTypeError as InvalidTypeError,
)
from ._errors import (
    InvalidValueError as InvalidValueError,
)
from ._errors import (
    KernelError as KernelError,
)
from ._errors import (
    NotFoundError as NotFoundError,
)
from ._errors import (
    NotNamespaceError as NotNamespaceError,
)
from ._errors import (
    NotPermittedError as NotPermittedError,
)
from ._errors import (
    OrderError as OrderError,
)
from ._errors import (
    RestoreError as RestoreError,
)
from ._executor import Executor as Executor
from ._handle import (
    NetNS as NetNS,
)
from ._handle import (
    current as current,
)
from ._handle import (
    do as do,
)
from ._handle import (
    from_fd as from_fd,
)
from ._handle import (
    from_pid as from_pid,
)
from ._handle import (
    from_socket as from_socket,
)
from ._handle import (
    from_thread as from_thread,
)
from ._handle import (
    open as open,
)
from ._holder import (
    Holder as Holder,
)
from ._names import (
    names as names,
)
from ._native import (
    Guard as Guard,
)
from ._native import (
    Tour as Tour,
)
from ._pool import (
    Pool as Pool,
)
from ._pool import (
    pool as pool,
)
from ._socket import sockets as sockets
from ._switch import (
    abort_when_stranded as abort_when_stranded,
)
from ._switch import (
    keep_gil as keep_gil,
)
from ._switch import (
    tour as tour,
)
from ._types import Target as Target
from ._watch import (
    Change as Change,
)
from ._watch import (
    Watch as Watch,
)
from ._watch import (
    watch as watch,
)

__all__: list[str]
__version__: str
