// Stores an answer that the server has not confirmed yet, so that it outlives the page. A browser without storage loses
// it with the page.

export class Keeping {
  // For one reader in one study, because several readers may use the same browser.
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

  // Keeps a later answer of another tab.
  forget(answer) {
    if (this.kept()?.showing === answer.showing) attempt(() => localStorage.removeItem(this.key));
  }
}

function attempt(action) {
  try {
    return action();
  } catch {
    return null;
  }
}
