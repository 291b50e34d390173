// The answer that the server has not confirmed yet, where it outlives the page. A browser that keeps nothing loses it
// with the page.

export class Keeping {
  // Of one reader in one study: others may use the same browser.
  constructor(reader, address) {
    this.key = `unconfirmed answer of ${reader} to ${address}`;
  }

  keep(answer) {
    attempt(() => localStorage.setItem(this.key, JSON.stringify(answer)));
  }

  kept() {
    const answer = attempt(() => JSON.parse(localStorage.getItem(this.key)));
    return typeof answer?.showing === "string" && typeof answer.chosen === "string" ? answer : null;
  }

  // Another tab may have kept a later one meanwhile.
  forget(answer) {
    if (this.kept()?.showing === answer.showing) attempt(() => localStorage.removeItem(this.key));
  }
}

function attempt(what) {
  try {
    return what();
  } catch {
    return null;
  }
}
