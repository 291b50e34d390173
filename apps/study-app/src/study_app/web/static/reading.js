// A study while a reader answers. Only the server knows the reader's position: the page sends one request at a time and
// shows the state in the answer.

import { Connection, pause } from "./connection.js";
import { Keeping } from "./keeping.js";

const SOONEST_MS = 250; // a click that follows an item sooner is the second half of a double click
const NO_CONNECTION = "No connection. Your answer is saved and will be sent as soon as the connection is back.";
const NO_IMAGES = "The images cannot be loaded. Trying again…";

export class Reading {
  // display: shows items. `prepare(item)` loads one and rejects if that fails, `show(item)` shows it, `keepOnly(items)`
  // forgets all others.
  constructor(display) {
    this.display = display;
    this.form = document.querySelector("#answer");
    this.choices = [...this.form.querySelectorAll(".choice")];
    this.undoForm = document.querySelector("#undo");
    this.undoButton = this.undoForm.querySelector("button");
    const { address, reader } = this.form.dataset;
    this.keeping = new Keeping(reader, address);
    const token = document.querySelector("meta[name=csrf-token]").content;
    this.connection = new Connection(address, token, (isOnline) => this.setStatus(isOnline ? "" : NO_CONNECTION, !isOnline));
    this.address = address;
    this.busy = true; // clicks and keys are ignored meanwhile
    this.onScreen = null; // the token of the showing on screen
    this.since = 0;
    this.reported = Promise.resolve(); // resolves when the server knows that the item is on screen
  }

  async start() {
    this.setBusy(true);
    this.listen();
    const kept = this.keeping.kept();
    if (kept) {
      await this.request("answers", kept);
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
      if (event.detail > 1) event.preventDefault(); // the second click of a double click
    });
    this.undoForm.addEventListener("submit", (event) => {
      event.preventDefault();
      this.undo();
    });
    document.querySelector("#pause").addEventListener("submit", (event) => {
      event.preventDefault();
      this.pauseStudy();
    });
    document.addEventListener("keydown", (event) => this.press(event));
    addEventListener("pageshow", (event) => event.persisted && this.refresh());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.refresh());
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
    await this.request("answers", answer);
  }

  async undo() {
    if (this.busy || !this.state.undoable) return;
    await this.request("undo", { showing: this.state.undoable }, "The last answer is undone.");
  }

  async pauseStudy() {
    if (this.busy) return;
    await this.request("pause", {});
  }

  // Another tab may have answered meanwhile, or the browser shows this page from its cache.
  async refresh() {
    if (!this.busy) await this.request("state");
  }

  async request(path, fields, message = "") {
    this.setBusy(true);
    this.setStatus("");
    await this.reported;
    const { status, document: state } = await this.connection.send(path, fields);
    if (status === 204) {
      location.assign(`${this.address}/${path}`);
    } else if (status === 200 || status === 409) {
      if (path === "answers") this.keeping.forget(fields);
      await this.enter(state, state.error ? `Not accepted: ${state.error}. This is your current position.` : message);
    } else {
      this.stop(status);
    }
  }

  // Shows the reader's current item.
  async enter(state, message = "") {
    this.state = state;
    const { current, following } = state;
    if (!current) {
      location.replace(this.address); // the server shows the last page
      return;
    }
    document.querySelector("#progress").value = state.done;
    document.querySelector("#done").textContent = state.done;
    if (current.showing !== this.onScreen && !(await this.showItem(current))) return;
    this.form.elements.showing.value = current.showing;
    this.undoForm.elements.showing.value = state.undoable ?? "";
    this.undoButton.disabled = !state.undoable;
    this.display.keepOnly([current, following].filter(Boolean));
    if (following) this.display.prepare(following).catch(() => {}); // it is loaded again when it is needed
    this.choices.forEach((button) => button.classList.remove("chosen"));
    this.setStatus(message, false);
    this.setBusy(false);
  }

  // Shows an item and reports it to the server. Returns false if only another page can continue.
  async showItem(item) {
    for (let tries = 0; !(await this.isPrepared(item)); tries += 1) {
      this.setStatus(NO_IMAGES, true);
      await pause(tries);
      const { status } = await this.connection.send("state"); // once the server answers, the images should load, too
      if (status !== 200) {
        this.stop(status);
        return false;
      }
    }
    await this.display.show(item);
    await painted();
    this.onScreen = item.showing;
    this.since = performance.now();
    this.reported = this.connection.sendOnce("shown", { showing: item.showing });
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

  // Ends the work of this page.
  stop(status) {
    if (status === 401) {
      this.setStatus("You are signed out. Your answers are saved.", true, ["Sign in", "/sign-in"]);
    } else {
      this.setStatus("This page is out of date. Your answers are saved.", true, ["Reload", this.address]);
    }
  }

  setBusy(busy) {
    this.busy = busy;
    this.form.setAttribute("aria-busy", busy);
  }

  setStatus(text, isTrouble = false, link = null) {
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
