"""What all stages share. They import it before any engine, so it sets what an engine reads when it is imported."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  a fresh checkout meets any interpreter; read before any newer syntax
    sys.stderr.write("error: expected Python 3.11 or newer, found %d.%d; run it with that\n" % sys.version_info[:2])  # noqa: UP031
    sys.exit(2)

# onnxruntime 1.31 otherwise writes an identity and a database to the home folder, has a thread more for them, and may
# send events to a host of its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
