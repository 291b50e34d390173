// What is said to the server, and said again until it answers: what it gets twice, it takes once.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
const PATIENCE_MS = 15000;

export class Connection {
  // address: of the study; token: against forged requests; tell: is called with whether there is a connection, if that
  // has changed.
  constructor(address, token, tell) {
    this.address = address;
    this.token = token;
    this.tell = tell;
  }

  // Says something until there is an answer: its status and, but for 204, its document. Without fields it asks.
  async say(what, fields) {
    for (let tries = 0; ; tries += 1) {
      const answer = await this.sayOnce(what, fields);
      if (answer) {
        if (tries > 0) this.tell(true);
        return answer;
      }
      if (tries === 0) this.tell(false);
      await pause(tries);
    }
  }

  // Returns null if nothing came back, or nothing that the site itself would say.
  async sayOnce(what, fields) {
    const request = {
      headers: { Accept: "application/json", "X-CSRFToken": this.token },
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE_MS),
    };
    if (fields) {
      request.method = "POST";
      request.headers["Content-Type"] = "application/json";
      request.body = JSON.stringify(fields);
    }
    try {
      const response = await fetch(`${this.address}/${what}`, request);
      if (response.status >= 500) return null; // the server, or a proxy before it, is being started again
      return { status: response.status, document: response.status === 204 ? null : await response.json() };
    } catch {
      return null;
    }
  }
}

// Longer from try to try; not the same for all readers, who would come back all at once; over as soon as the browser
// knows of a connection.
export function pause(tries) {
  const longest = Math.min(FIRST_WAIT_MS * 2 ** tries, LONGEST_WAIT_MS);
  return new Promise((resolve) => {
    const goOn = () => {
      clearTimeout(timer);
      removeEventListener("online", goOn);
      resolve();
    };
    const timer = setTimeout(goOn, longest * (0.5 + Math.random() / 2));
    addEventListener("online", goOn);
  });
}
