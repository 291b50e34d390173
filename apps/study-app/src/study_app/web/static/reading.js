// A study while it is read. The server alone knows where the reader is: one thing at a time is said to it, and what it
// says is shown.

import { Connection, pause } from "./connection.js";
import { Keeping } from "./keeping.js";

const SOONEST_MS = 250; // an answer that comes sooner after the item is the second half of a double click
const NO_CONNECTION = "No connection. What you answered is kept, and sent as soon as there is one.";
const NO_IMAGES = "The images cannot be loaded. Trying again…";

export class Reading {
  // display: shows items. `prepare(item)` resolves when one can be shown at once and rejects if it cannot be loaded now,
  // `show(item)` puts it on screen, `keepOnly(items)` forgets all others.
  constructor(display) {
    this.display = display;
    this.form = document.querySelector("#answer");
    this.choices = [...this.form.querySelectorAll(".choice")];
    this.undoForm = document.querySelector("#undo");
    this.undoButton = this.undoForm.querySelector("button");
    const { address, reader } = this.form.dataset;
    this.keeping = new Keeping(reader, address);
    const token = document.querySelector("meta[name=csrf-token]").content;
    this.connection = new Connection(address, token, (isThere) => this.tell(isThere ? "" : NO_CONNECTION, !isThere));
    this.address = address;
    this.busy = true; // what is done meanwhile is not taken
    this.onScreen = null; // the item that is, by the name of its showing
    this.since = 0;
    this.heard = Promise.resolve(); // when the server has heard that the item is on screen
  }

  async start() {
    this.setBusy(true);
    this.listen();
    const kept = this.keeping.kept();
    if (kept) {
      await this.ask("answers", kept);
    } else {
      await this.enter(JSON.parse(this.form.dataset.state));
    }
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.choose(event.submitter);
    });
    this.form.addEventListener("click", (event) => {
      if (event.detail > 1) event.preventDefault(); // of a double click
    });
    this.undoForm.addEventListener("submit", (event) => {
      event.preventDefault();
      this.undo();
    });
    document.querySelector("#pause").addEventListener("submit", (event) => {
      event.preventDefault();
      this.rest();
    });
    document.addEventListener("keydown", (event) => this.press(event));
    addEventListener("pageshow", (event) => event.persisted && this.look());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.look());
  }

  press(event) {
    if (event.repeat && event.target.closest("button")) event.preventDefault(); // a key that is held answers once
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const number = Number(/^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1] ?? event.key); // digits may need a shift
    if (this.choices[number - 1]) this.choose(this.choices[number - 1]);
    if (event.key.toLowerCase() === "u") this.undo();
  }

  async choose(button) {
    if (this.busy || performance.now() - this.since < SOONEST_MS) return;
    const answer = { showing: this.state.current.showing, chosen: button.value };
    button.classList.add("chosen");
    this.keeping.keep(answer);
    await this.ask("answers", answer);
  }

  async undo() {
    if (this.busy || !this.state.undoable) return;
    await this.ask("undo", { showing: this.state.undoable }, "The last answer is undone.");
  }

  async rest() {
    if (this.busy) return;
    await this.ask("pause", {});
  }

  // Another tab may have gone on meanwhile, or this page comes from the browser's memory.
  async look() {
    if (!this.busy) await this.ask("state");
  }

  async ask(what, fields, told = "") {
    this.setBusy(true);
    this.tell("");
    await this.heard;
    const { status, document: state } = await this.connection.say(what, fields);
    if (status === 204) {
      location.assign(`${this.address}/${what}`);
    } else if (status === 200 || status === 409) {
      if (what === "answers") this.keeping.forget(fields);
      await this.enter(state, state.error ? `Not taken: ${state.error}. This is where you are.` : told);
    } else {
      this.stop(status);
    }
  }

  // Shows where the reader is.
  async enter(state, told = "") {
    this.state = state;
    const { current, following } = state;
    if (!current) {
      location.replace(this.address); // the server has a page for the end
      return;
    }
    document.querySelector("#progress").value = state.done;
    document.querySelector("#done").textContent = state.done;
    if (current.showing !== this.onScreen && !(await this.bring(current))) return;
    this.form.elements.showing.value = current.showing;
    this.undoForm.elements.showing.value = state.undoable ?? "";
    this.undoButton.disabled = !state.undoable;
    this.display.keepOnly([current, following].filter(Boolean));
    if (following) this.display.prepare(following).catch(() => {}); // it is tried again when it has its turn
    this.choices.forEach((button) => button.classList.remove("chosen"));
    this.tell(told, false);
    this.setBusy(false);
  }

  // Brings an item on screen, and says so to the server. False if only another page can go on.
  async bring(item) {
    for (let tries = 0; !(await this.isPrepared(item)); tries += 1) {
      this.tell(NO_IMAGES, true);
      await pause(tries);
      const { status } = await this.connection.say("state"); // once this is answered, the images should be there, too
      if (status !== 200) {
        this.stop(status);
        return false;
      }
    }
    await this.display.show(item);
    await painted();
    this.onScreen = item.showing;
    this.since = performance.now();
    this.heard = this.connection.sayOnce("shown", { showing: item.showing });
    document.querySelector("#announcement").textContent = `${this.state.done + 1} of ${this.state.total}`;
    return true;
  }

  async isPrepared(item) {
    try {
      await this.display.prepare(item);
      return true;
    } catch {
      return false;
    }
  }

  // Nothing more is taken on this page.
  stop(status) {
    if (status === 401) {
      this.tell("You are signed out. What you answered is kept.", true, ["Sign in", "/sign-in"]);
    } else {
      this.tell("This page is out of date. What you answered is kept.", true, ["Load it again", this.address]);
    }
  }

  setBusy(busy) {
    this.busy = busy;
    this.form.setAttribute("aria-busy", busy);
  }

  tell(text, isTrouble = false, link = null) {
    const status = document.querySelector("#status");
    status.textContent = text;
    status.classList.toggle("trouble", isTrouble);
    if (link) {
      const anchor = document.createElement("a");
      [anchor.textContent, anchor.href] = link;
      status.append(" ", anchor);
    }
  }
}

function painted() {
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}
