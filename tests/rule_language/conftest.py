"""Puts the oracle and the generators beside these tests within reach of their imports."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
