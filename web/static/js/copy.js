// Copies the text beside a button and says so, also to screen readers. Where the browser lets no script copy, the text is
// selected for the user to copy. Without this script the buttons stay hidden, and a click selects the whole text.

const told = document.querySelector("[data-copied]");

function select(text) {
  const range = document.createRange();
  range.selectNodeContents(text);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent.trim());
    tell(button.dataset.said);
  } catch {
    select(text);
    tell(button.dataset.selected);
  }
}

function tell(what) {
  // An unchanged text would not be read again.
  told.textContent = "";
  setTimeout(() => { told.textContent = what; }, 50);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
