/* Runs before the first paint, so that a chosen theme or language never flashes. Keys as in src/settings. */
/* global document, localStorage */
(function () {
  try {
    var theme = localStorage.getItem('roomcast.theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch (error) {
    // Storage is forbidden here: the system's theme it is.
    void error;
  }
})();
