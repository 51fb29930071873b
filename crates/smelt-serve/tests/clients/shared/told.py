"""Tells of a client's calls: one JSON object a line, {"client", "call", "ok", "note"}."""

import json
import traceback
from typing import Callable


class Calls:
    """The calls of one client."""

    def __init__(self, client: str):
        self.client = client

    def tell(self, call: str, ok: bool, note: str) -> None:
        print(json.dumps({"client": self.client, "call": call, "ok": ok, "note": note}), flush=True)

    def call(self, name: str, run: Callable[[], object]) -> None:
        """Tells whether a call works; what it returns is the note."""
        try:
            note = run()
        except Exception as error:
            traceback.print_exc()
            self.tell(name, False, f"{type(error).__name__}: {error}"[:300])
        else:
            self.tell(name, True, "" if note is None else str(note))

    def refused(self, name: str, words: str, run: Callable[[], object]) -> None:
        """Tells whether a call is refused with these words."""
        try:
            run()
        except Exception as error:
            self.tell(name, words in str(error), f"refused: {error}"[:200])
        else:
            self.tell(name, False, "not refused")


def check(holds: bool, what: object) -> None:
    """What a call must have done."""
    if not holds:
        raise AssertionError(what)
