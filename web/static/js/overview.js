// Polls the state of the requests on this page and replaces those that changed, with an announcement for screen readers.
// The focus stays. Without this script the page stays as it was loaded.
const list = document.getElementById("locations");
const said = document.getElementById("said");
const LONGEST = 60000;

let failures = 0;

const shown = () => [...list.querySelectorAll("[data-request]")];

function address() {
  const url = new URL(list.dataset.live, location.href);
  for (const place of shown()) url.searchParams.append("id", place.dataset.request);
  return url;
}

function replace(old, fresh) {
  const focused = old.contains(document.activeElement);
  const id = old.dataset.request;
  const changed = old.dataset.status !== fresh.dataset.status;
  old.replaceWith(fresh);
  if (changed) fresh.classList.add("is-changed");
  if (!("new" in fresh.dataset)) document.querySelector(`[data-badge="${CSS.escape(id)}"]`)?.remove();
  if (focused) fresh.querySelector("a")?.focus({ preventScroll: true });
  return changed ? `${list.dataset.say.replace("{number}", fresh.dataset.number)}: ${fresh.dataset.status}.` : "";
}

function take(page) {
  const words = [];
  for (const old of shown()) {
    const found = page.querySelector(`[data-request="${CSS.escape(old.dataset.request)}"]`);
    if (!found) continue;
    const fresh = document.importNode(found, true);
    const compared = old.cloneNode(true);
    compared.className = fresh.className;
    if (!compared.isEqualNode(fresh)) words.push(replace(old, fresh));
  }
  const news = words.filter(Boolean);
  if (news.length) said.textContent = news.join(" ");
}

async function ask() {
  if (document.hidden) return wait(Number(list.dataset.poll));
  try {
    const answer = await fetch(address(), { headers: { Accept: "text/html" }, redirect: "error" });
    // The user was signed out or lost access to the account.
    if (answer.status >= 400 && answer.status < 500) return undefined;
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    take(page);
    failures = 0;
    list.dataset.poll = page.querySelector("[data-poll]").dataset.poll;
    return wait(Number(list.dataset.poll));
  } catch {
    failures += 1;
    return wait(Math.min(LONGEST, Number(list.dataset.poll) * 2 ** failures));
  }
}

function wait(milliseconds) {
  if (milliseconds > 0) setTimeout(ask, milliseconds);
}

if (list && said) wait(Number(list.dataset.poll));
