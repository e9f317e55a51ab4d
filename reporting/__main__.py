"""python -m reporting RUNS [--out FOLDER]"""

import sys

from reporting import report

sys.exit(report.main(sys.argv[1:]))
