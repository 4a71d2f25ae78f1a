// The pages of an order while the user types: saves the input, updates the basket, and compares address and area code.
// Without this script the server does the same when a step is submitted.

const PAUSE = 500;

function later(act) {
  let timer = 0;
  const wait = () => { clearTimeout(timer); timer = setTimeout(act, PAUSE); };
  wait.cancel = () => clearTimeout(timer);
  return wait;
}

function say(id, text) {
  const place = document.getElementById(id);
  // Screen readers would read an unchanged text again.
  if (place && place.textContent !== text) place.textContent = text;
}

function isTouched(form) {
  const differs = (field) => field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  return [...form.querySelectorAll("input:not([type=hidden]), textarea")].some(differs);
}

function keepSaving(form) {
  let unsaved = false, running = null, leaving = false;

  async function save() {
    running?.abort();
    running = new AbortController();
    unsaved = false;
    try {
      const answer = await fetch(form.dataset.autosave, { method: "POST", body: new FormData(form), signal: running.signal });
      // Signed out: the next press of a button leads to sign-in and back, with what was typed.
      if (answer.status === 401) return say("saved", form.dataset.signedOut);
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const { saved, basket } = await answer.json();
      if (leaving) return;
      document.getElementById("basket").innerHTML = basket;
      say("saved", saved);
    } catch (error) {
      if (error.name === "AbortError") return;
      unsaved = true;
      say("saved", form.dataset.unsaved);
    }
  }

  const soon = later(save);
  const changed = () => { unsaved = true; soon(); };
  form.addEventListener("input", changed);
  // On a slow line people type before this script has arrived.
  if (isTouched(form)) changed();
  form.addEventListener("submit", () => { leaving = true; unsaved = false; soon.cancel(); running?.abort(); });
  addEventListener("pagehide", () => {
    soon.cancel();
    if (unsaved) navigator.sendBeacon(form.dataset.autosave, new FormData(form));
  });
}

function keepHinting(form) {
  const city = form.elements.namedItem("city"), area = form.elements.namedItem("area_code");
  const code = form.elements.namedItem("postal_code");
  if (!city && !area) return;
  let asked = 0;

  async function ask() {
    const mine = ++asked;
    const where = (city ? city.value : form.dataset.city).trim();
    const postal_code = (code ? code.value : form.dataset.postalCode).trim();
    const typed = area ? area.value.trim() : "";
    const size = form.elements.namedItem("block_size")?.value ?? "";
    const query = new URLSearchParams({ postal_code, city: where, area_code: typed, block_size: size });
    try {
      const answer = await fetch(`${form.dataset.hints}?${query}`);
      if (!answer.ok || answer.redirected) return;
      const hints = await answer.json();
      // Only the answer to the last request counts.
      if (mine !== asked) return;
      // The error at the field says it already.
      const isNamed = (field) => field?.hasAttribute("aria-invalid") && field.value === field.defaultValue;
      const named = isNamed(city) || isNamed(area);
      say("city-text", named ? "" : hints.city_text);
      say("area-text", isNamed(area) ? "" : hints.area_text);
      say("free-text", hints.free_text);
      document.getElementById("area-text")?.classList.toggle("is-warning", hints.fits === false && !isNamed(area));
      document.getElementById("city-text")?.classList.toggle("is-warning", !named && (hints.wrong || hints.unknown_town));
      document.getElementById("towns")?.replaceChildren(...hints.towns.map((town) => new Option("", town)));
    } catch { /* Without an answer no hint is shown; the server checks again on submit. */ }
  }

  const soon = later(ask);
  form.addEventListener("input", (event) => {
    if (["postal_code", "city", "area_code", "block_size"].includes(event.target.name)) soon();
  });
  if (city?.value || area?.value) ask();
}

function sendOnce(form) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) return event.preventDefault();
    sent = true;
    form.querySelector(".primary").setAttribute("aria-disabled", "true");
  });
  addEventListener("pageshow", () => {
    sent = false;
    form.querySelector(".primary").removeAttribute("aria-disabled");
  });
}

const step = document.getElementById("step");
if (step) { keepSaving(step); keepHinting(step); }
const order = document.getElementById("order-now");
if (order) sendOnce(order);
// Move the focus to the error summary.
const wrong = document.querySelector(".order .alert");
if (wrong) { wrong.tabIndex = -1; wrong.focus(); }
