"""``python -m fastsegformer_cli``, where the console command is not on the path."""

import sys

from .main import main

sys.exit(main())
