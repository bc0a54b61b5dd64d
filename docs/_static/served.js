// Under /docs the server allows no inline scripts (Content-Security-Policy), and furo restores the
// chosen theme with one.
document.body.dataset.theme = localStorage.getItem("theme") || "auto";
