// Tells of a client's calls: one JSON object a line, {client, call, ok, note}.

export class Calls {
  constructor(client) {
    this.client = client;
  }

  tell(call, ok, note) {
    console.log(JSON.stringify({ client: this.client, call, ok, note: String(note ?? "").slice(0, 300) }));
  }

  /** Tells whether a call works; what it returns is the note. */
  async call(name, run) {
    try {
      this.tell(name, true, await run());
    } catch (error) {
      console.error(error);
      this.tell(name, false, error);
    }
  }

  /** Tells whether a call is refused with these words. */
  async refused(name, words, run) {
    try {
      await run();
      this.tell(name, false, "not refused");
    } catch (error) {
      const message = error.response?.data?.detail ?? error.message;
      this.tell(name, String(message).includes(words), `refused: ${message}`);
    }
  }
}

/** What a call must have done. */
export function check(holds, what) {
  if (!holds) throw new Error(JSON.stringify(what));
}
