// Updates the page of a request: polls its changing parts, quickly while something changes, slowly otherwise,
// and not at all once the request has ended or while the page is hidden.

const FIRST = 2000, MOST = 30000, GROWS = 1.4, PATIENCE = 15000;

class LivePage {
  constructor(root) {
    this.root = root;
    this.version = root.dataset.version;
    this.note = document.querySelector("[data-live-note]");
    this.said = document.querySelector("[data-live-said]");
    this.pause = FIRST;
    this.failures = 0;
    this.postponed = new Map();
    this.ended = root.hasAttribute("data-ended");
    if (this.ended) return;
    // Poll at once when the page is visible again or the connection is back.
    for (const event of ["online", "focus", "pageshow"]) addEventListener(event, () => this.hurry());
    document.addEventListener("visibilitychange", () => this.hurry());
    root.addEventListener("focusout", () => setTimeout(() => this.catchUp(), 0));
    this.plan();
  }

  plan() {
    clearTimeout(this.timer);
    if (!this.ended && !document.hidden) this.timer = setTimeout(() => this.look(), this.pause);
  }

  hurry() {
    if (document.hidden || this.ended) return;
    this.pause = FIRST;
    if (!this.looking) this.look();
  }

  async look() {
    clearTimeout(this.timer);
    this.looking = true;
    try {
      await this.ask();
    } catch {
      this.failures += 1;
      this.pause = Math.min(this.pause * 2, MOST);
      if (this.failures > 1) this.tell(this.root.dataset.saysAway);
    } finally {
      this.looking = false;
    }
    this.plan();
  }

  async ask() {
    const headers = { "If-None-Match": `"${this.version}"` };
    const answer = await fetch(this.root.dataset.live, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (answer.status >= 500 || answer.status === 429) throw new Error("try again");
    this.failures = 0;
    if (answer.status === 304) {
      this.tell("");
      this.pause = Math.min(this.pause * GROWS, MOST);
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const regions = fresh.querySelectorAll("[data-region]");
    if (!answer.ok || answer.redirected || !regions.length) {
      // The user was signed out, or the page no longer exists.
      this.ended = true;
      this.tell(this.root.dataset.saysGone);
      return;
    }
    this.tell("");
    this.version = (answer.headers.get("ETag") ?? "").replace(/^W\/|"/g, "");
    this.pause = FIRST;
    this.ended = fresh.querySelector("[data-ended]") !== null;
    for (const region of regions) this.take(region);
  }

  take(fresh) {
    const shown = this.root.querySelector(`[data-region="${fresh.dataset.region}"]`);
    if (!shown || shown.dataset.version === fresh.dataset.version) return;
    if (fresh.dataset.region === "timeline") return this.grow(shown, fresh);
    this.postponed.set(fresh.dataset.region, fresh);
    this.catchUp();
  }

  // Only new entries are added, so that a selection and a screen reader's position stay.
  grow(shown, fresh) {
    const list = shown.querySelector("ol");
    const known = new Set(Array.from(list.children, (line) => line.dataset.entry));
    const news = [...fresh.querySelectorAll("[data-entry]")].filter((line) => !known.has(line.dataset.entry));
    for (const line of news) {
      line.classList.add("is-new");
      list.append(document.adoptNode(line));
    }
    shown.dataset.version = fresh.dataset.version;
    const texts = news.map((line) => line.lastChild.textContent.trim());
    if (texts.length) this.said.textContent = texts.join(" ");
  }

  // A part that has the focus or that the user typed into is replaced later.
  catchUp() {
    for (const [name, fresh] of this.postponed) {
      const shown = this.root.querySelector(`[data-region="${name}"]`);
      if (this.isInUse(shown)) continue;
      shown.replaceChildren(...fresh.childNodes);
      shown.dataset.version = fresh.dataset.version;
      this.postponed.delete(name);
    }
  }

  isInUse(shown) {
    if (shown.contains(document.activeElement)) return true;
    const fields = [...shown.querySelectorAll("input:not([type=hidden])")];
    return !this.ended && fields.some((field) => field.value !== field.defaultValue);
  }

  tell(what) {
    if (this.note.textContent === what) return;
    this.note.textContent = what;
    this.note.hidden = !what;
    if (what) this.said.textContent = what;
  }
}

for (const root of document.querySelectorAll("[data-live]")) new LivePage(root);
