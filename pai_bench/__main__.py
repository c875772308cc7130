"""`python -m pai_bench` is `pai-bench`."""

import sys

from pai_bench.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
