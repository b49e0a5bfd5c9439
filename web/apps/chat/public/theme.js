/* Sets the chosen theme before the first paint, to prevent a flash. Same key as src/settings/theme.ts. */
/* global document, localStorage */
(function () {
  try {
    var theme = localStorage.getItem('roomcast.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch (error) {
    // Storage is blocked: the system's theme applies.
    void error;
  }
})();
