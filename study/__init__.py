"""What all stages share. They import it before any engine, so it sets what an engine reads when it is imported."""

import os

# onnxruntime 1.31 otherwise writes an identity and a database to the home folder, has a thread more for them, and may
# send events to a host of its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
