/* Sets the chosen theme before the first paint, to prevent a flash. Same key as src/settings/theme.ts,
   with the prefix of src/storage/storage.ts. */
/* global document, localStorage, URL */
(function () {
  try {
    var base = new URL('.', document.currentScript.src).pathname;
    var theme = localStorage.getItem(base.slice(1) + 'roomcast.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch (error) {
    // Storage is blocked: the system's theme applies.
    void error;
  }
})();
