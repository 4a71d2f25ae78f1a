// Ignores a second press of a button while the form is being sent. The server handles double submits, too.

for (const form of document.querySelectorAll("form[data-send-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
// After the browser's back button the page may come from the cache, with its form still marked as sent.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-send-once]")) delete form.dataset.sent;
});
