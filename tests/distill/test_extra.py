"""Without the extra, the import says what to install."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["torch", "transformers", "sentence_transformers", "skeletoken", "sklearn"]
)
def test_a_missing_module_names_the_extra(module):
    program = f"""
import sys
sys.modules[{module!r}] = None
from encoder.errors import MissingExtra
try:
    import distill
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{module} is not installed: pip install 'millstream[distill]'"
