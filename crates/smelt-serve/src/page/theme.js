// The colours that were chosen last, set before anything is painted.
(function () {
  let chosen = null;
  try { chosen = localStorage.getItem("smelt.theme"); } catch { /* Storage is off: as the system has it. */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
