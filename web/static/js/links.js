// A second press while the first is on its way sends nothing. The server sees to it too; this spares the wait.

for (const form of document.querySelectorAll("form[data-send-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
// Back by the browser's button: the page may be the one that was left.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-send-once]")) delete form.dataset.sent;
});
