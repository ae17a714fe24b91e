"""The steps of one client: each a function named by what it shows; one line on standard output for each."""

import json
import os
import time
import traceback

MODEL = "gemini-3.8-flash"
EMBEDDER = "gemini-embedding-2"
TALKER = "gemini-3.8-live"
PAINTER = "gemini-3.1-flash-image"
DIRECTOR = "veo-3.1-generate-preview"
URL = os.environ["GEMINATE_URL"]
TOKEN = os.environ["GEMINATE_TOKEN"]
# What stands in each project before the clients come: its names of one file, one cache and one batch.
SEEDS = json.loads(os.environ.get("SEEDS", "[]"))
# As the mock was told: so many frames in a streamed answer, and so long between two.
FRAMES = int(os.environ["MOCK_FRAMES"])
FRAME_PAUSE_S = float(os.environ["MOCK_FRAME_PAUSE_S"])


def run(client, *steps):
    """Takes every step, whatever became of those before it."""
    for step in steps:
        name = f"{client}: {step.__name__.replace('_', ' ')}"
        try:
            step()
            print(f"ok {name}", flush=True)
        except Exception:  # A step's failure is its line.
            print(f"failed {name}\n{traceback.format_exc()}", flush=True)


def equal(found, wanted):
    """Holds `found` equal to `wanted`, and says both where it is not."""
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def hold(truth, otherwise):
    """Holds what must be true, with what is said where it is not."""
    if not truth:
        raise AssertionError(otherwise)


class Arrivals:
    """What a stream brought, and when."""

    def __init__(self):
        self.pieces = []
        self.times = []

    def add(self, piece):
        """One chunk with text."""
        self.pieces.append(piece)
        self.times.append(time.monotonic())

    def are(self, text):
        """Every frame came alone and in order, about as the upstream sent them: a busy machine may delay the first."""
        equal("".join(self.pieces), text)
        equal(len(self.pieces), FRAMES)
        spread = self.times[-1] - self.times[0]
        if spread < FRAME_PAUSE_S * (FRAMES - 1) / 4:
            raise AssertionError(f"the stream came in one piece: all within {spread * 1000:.0f} ms")
