"""Make, judge and store the variants of a recipe: python save_models.py configs/minilm.yaml"""

import sys
from pathlib import Path

# A fresh clone works before `pip install`; inside a Bento this folder is not there.
sys.path.insert(0, str(Path(__file__).parent / "src"))

from quantbento.cli import save_models

if __name__ == "__main__":
    sys.exit(save_models())
