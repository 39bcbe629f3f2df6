"""python -m quantbento.cli"""

import sys

from quantbento.cli import main

if __name__ == "__main__":
    sys.exit(main())
