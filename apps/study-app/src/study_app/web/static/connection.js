// Requests to the server, repeated until it answers; it takes a repeated answer only once.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
const TIMEOUT_MS = 15000;

export class Connection {
  // address: of the study; token: against forged requests; onChange: called with true or false when the connection
  // comes back or is lost.
  constructor(address, token, onChange) {
    this.address = address;
    this.token = token;
    this.onChange = onChange;
  }

  // Repeats a request until there is an answer: its status and, except for 204, its document. Without fields it is a GET.
  async send(path, fields) {
    for (let tries = 0; ; tries += 1) {
      const answer = await this.sendOnce(path, fields);
      if (answer) {
        if (tries > 0) this.onChange(true);
        return answer;
      }
      if (tries === 0) this.onChange(false);
      await pause(tries);
    }
  }

  // Returns null if there was no answer, or none that the site itself would give.
  async sendOnce(path, fields) {
    const request = {
      headers: { Accept: "application/json", "X-CSRFToken": this.token },
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    };
    if (fields) {
      request.method = "POST";
      request.headers["Content-Type"] = "application/json";
      request.body = JSON.stringify(fields);
    }
    try {
      const response = await fetch(`${this.address}/${path}`, request);
      if (response.status >= 500) return null; // the server, or a proxy before it, is restarting
      return { status: response.status, document: response.status === 204 ? null : await response.json() };
    } catch {
      return null;
    }
  }
}

// Waits longer after each try. The time is random, so that readers do not come back all at once; the wait ends when the
// browser is online again.
export function pause(tries) {
  const longest = Math.min(FIRST_WAIT_MS * 2 ** tries, LONGEST_WAIT_MS);
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      resolve();
    };
    const timer = setTimeout(end, longest * (0.5 + Math.random() / 2));
    addEventListener("online", end);
  });
}
