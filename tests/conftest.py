"""What every test shares: the bytecode of modules is kept between the many processes that the tests start.

Where PYTHONDONTWRITEBYTECODE is set, as in images of CI, each of them would compile a thousand modules again: half
of the time of a `hindcast`, and more of a `dbt`.
"""

import os
import sys
from pathlib import Path

if sys.dont_write_bytecode:
    # Below the cache of pytest, so that nothing appears beside sources whose owner asked for that.
    cache = Path(__file__).resolve().parents[1] / ".pytest_cache" / "bytecode"
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(cache))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
